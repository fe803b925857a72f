//! Standard output: data for whoever reads it, and never a panic when nobody does.

use std::{io::Write as _, process::ExitCode};

use crate::failure::{Failure, Result};

/// Prints text as it is.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|source| Failure::caused("cannot write to stdout", source))
}

/// Prints one line.
pub(crate) fn line(text: &str) -> Result<()> {
    print(&format!("{text}\n"))
}

/// Does something to each name and prints what it returns. A name that fails does not keep
/// the others from being tried; the exit code then is 1, as Docker's.
pub(crate) fn each(
    names: &[String],
    mut act: impl FnMut(&str) -> Result<String>,
) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for name in names {
        match act(name) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => line(&text)?,
            Err(failure) => {
                failure.report();
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
