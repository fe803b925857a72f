//! Standard output: data for whoever reads it, and never a panic when nobody does.

use std::{io::Write as _, process::ExitCode};

use silo_layers::Change;

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

/// Tells something on stderr.
pub(crate) fn note(text: &str) {
    // Nobody may listen, which is no reason to fail.
    let _ = writeln!(std::io::stderr().lock(), "silo: {text}");
}

/// Changes of files as `docker diff` lists them. Control characters of a name, which a guest chose,
/// are escaped.
pub(crate) fn changes(changes: &[Change]) -> String {
    let line = |change: &Change| format!("{} {}\n", change.kind.letter(), visible(&change.path));
    changes.iter().map(line).collect()
}

/// Text of a guest's choosing on one line, with nothing in it that a terminal acts on.
pub(crate) fn visible(text: &str) -> String {
    let escaped = |letter: char| {
        if letter.is_control() { letter.escape_default().to_string() } else { letter.to_string() }
    };
    text.chars().map(escaped).collect()
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
