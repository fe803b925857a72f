//! The log that engines read a failure from.

use std::{fs::OpenOptions, io::Write as _, path::Path};

use jiff::Timestamp;
use serde_json::json;

use super::LogFormat;
use crate::failure::Failure;

/// Adds a failure to the log. Where that cannot be written it is on stderr all the same.
pub(super) fn write(file: &Path, format: LogFormat, failure: &Failure) {
    let (message, time) = (failure.in_one_line(), Timestamp::now().to_string());
    let line = match format {
        LogFormat::Json => json!({ "level": "error", "msg": message, "time": time }).to_string(),
        LogFormat::Text => {
            format!("time={} level=error msg={}", json!(time), json!(message))
        }
    };
    let opened = OpenOptions::new().create(true).append(true).open(file);
    let _ = opened.and_then(|mut file| writeln!(file, "{line}"));
}
