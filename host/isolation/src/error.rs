//! What a backend can fail with.

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};

/// The result of a backend's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One thing that a bundle asks for and a backend cannot honour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What was asked for, in the words of who asked: `--cpus`, `a terminal (-t)`.
    pub what: String,
    /// Why it cannot be, in one clause.
    pub why: String,
}

impl Refusal {
    /// That `what` was asked for and cannot be had, and why.
    #[must_use]
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

/// A backend's failure. Each says what failed and on what; the cause is its source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program does not exist in the guest. Exit code 127.
    #[error("no program `{program}` in the image{}", searched(path.as_ref()))]
    ProgramNotFound {
        /// As it was asked for.
        program: String,
        /// The guest's `PATH`, where it was searched.
        path: Option<String>,
    },
    /// The program exists and cannot be run. Exit code 126.
    #[error("cannot run `{program}`: {reason}")]
    ProgramNotRunnable {
        /// As it was asked for.
        program: String,
        /// Why, in one clause.
        reason: String,
    },
    /// The host does not let the backend do what it needs.
    #[error("not permitted to {what}")]
    NotPermitted {
        /// The step, as a verb and its object.
        what: String,
        /// What would allow it.
        hint: String,
        /// The host's answer.
        source: io::Error,
    },
    /// The host lacks what the backend needs.
    #[error("{what}")]
    Unsupported {
        /// What is missing, as a sentence without its full stop.
        what: String,
    },
    /// An operation on a host file failed.
    #[error("cannot {verb} {}", path.display())]
    File {
        /// What was tried, as a verb.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The host's answer.
        source: io::Error,
    },
    /// A step of making or running the sandbox failed.
    #[error("cannot {step}")]
    Step {
        /// The step, as a verb and its object.
        step: String,
        /// The host's answer.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The sandbox is not in the state that the operation needs.
    #[error("the container is {state}")]
    WrongState {
        /// The state it is in: `not started`, `stopped`.
        state: &'static str,
    },
}

fn searched(path: Option<&String>) -> String {
    path.map_or_else(String::new, |path| format!(" (PATH is {path})"))
}

impl Error {
    /// Wraps an I/O error with what was tried on which file.
    pub fn file(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { verb, path, source }
    }

    /// What the user could do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::NotPermitted { hint, .. } => Some(hint),
            _ => None,
        }
    }

    /// The exit code that Docker gives this failure: 127, 126 or 125.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::ProgramNotFound { .. } => 127,
            Self::ProgramNotRunnable { .. } => 126,
            _ => 125,
        }
    }
}
