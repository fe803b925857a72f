//! The log that engines read a failure from.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
};

use jiff::Timestamp;
use serde_json::json;

use super::{LogFormat, failed};
use crate::failure::{Failure, Result};

/// A log that is open: whoever asks for one is told at once where there can be none.
pub(super) struct Log {
    file: File,
    format: LogFormat,
}

impl Log {
    /// The log in `path`, to which is added.
    pub(super) fn open(path: &Path, format: LogFormat) -> Result<Self> {
        let opened = OpenOptions::new().create(true).append(true).open(path);
        let file = opened.map_err(|source| {
            failed(Failure::caused(format!("cannot open the log {}", path.display()), source))
        })?;
        Ok(Self { file, format })
    }

    /// Adds a failure. Where that cannot be written it is on stderr all the same.
    pub(super) fn add(&mut self, failure: &Failure) {
        let (message, time) = (failure.in_one_line(), Timestamp::now().to_string());
        let line = match self.format {
            LogFormat::Json => {
                json!({ "level": "error", "msg": message, "time": time }).to_string()
            }
            LogFormat::Text => {
                format!("time={} level=error msg={}", json!(time), json!(message))
            }
        };
        let _ = writeln!(self.file, "{line}");
    }
}
