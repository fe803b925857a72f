//! What to execute.

use std::ffi::CString;

use silo_isolation::{DEFAULT_PATH, Process, Result};

use super::c_string;
use crate::sys::Strings;

/// A program, where it may be, and what it is given.
#[derive(Debug)]
pub(crate) struct Program {
    /// Paths to try, in order.
    pub(crate) candidates: Vec<CString>,
    pub(crate) args: Strings,
    pub(crate) env: Strings,
    /// The name asked for and the `PATH` it was looked up in, for messages.
    pub(crate) name: String,
    pub(crate) path: Option<String>,
}

impl Program {
    pub(crate) fn new(process: &Process) -> Result<Self> {
        let name = process.args.first().cloned().unwrap_or_default();
        let path = (!name.contains('/')).then(|| search_path(process).to_owned());
        let candidates = match &path {
            None => vec![c_string(name.clone())?],
            // The empty name is no program; below a directory of PATH it would be that directory.
            Some(_) if name.is_empty() => Vec::new(),
            Some(path) => path
                .split(':')
                .map(|directory| if directory.is_empty() { "." } else { directory })
                .map(|directory| c_string(format!("{directory}/{name}")))
                .collect::<Result<_>>()?,
        };
        Ok(Self {
            candidates,
            args: strings(&process.args)?,
            env: strings(&process.env)?,
            name,
            path,
        })
    }
}

/// The guest's `PATH`: the first one, as getenv(3) finds it.
fn search_path(process: &Process) -> &str {
    let path = process.env.iter().find_map(|variable| variable.strip_prefix("PATH="));
    path.unwrap_or(DEFAULT_PATH)
}

fn strings(texts: &[String]) -> Result<Strings> {
    let strings = texts.iter().map(|text| c_string(text.as_str())).collect::<Result<_>>()?;
    Ok(Strings::new(strings))
}
