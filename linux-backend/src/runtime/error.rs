//! What an operation of the runtime can fail with.

use std::{io, path::PathBuf};

/// The result of an operation of the runtime.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the runtime. Engines look for some of these sentences in what a runtime prints;
/// those are runc's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation on a file of the host failed.
    #[error("cannot {verb} {}", path.display())]
    File {
        /// What was tried, as a verb.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The host's answer.
        source: io::Error,
    },
    /// A configuration or a state is not JSON of its kind.
    #[error("cannot read {} as {what}", path.display())]
    Json {
        /// What it should be.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The configuration asks for what cannot be.
    #[error("{property} of the configuration: {why}")]
    Config {
        /// The property by its path in config.json.
        property: String,
        /// Why not, in one clause.
        why: String,
    },
    /// A name that no container can have.
    #[error("invalid container ID format: `{0}`")]
    Id(String),
    /// There is a container of that name.
    #[error("container with given ID already exists: `{0}`")]
    Exists(String),
    /// There is none.
    #[error("container does not exist: `{0}`")]
    Missing(String),
    /// The container is not in the state that the operation needs.
    #[error("cannot {verb} a container that is {state}{hint}")]
    State {
        /// The operation.
        verb: &'static str,
        /// The state it is in.
        state: &'static str,
        /// What could be done, with the punctuation before it; or nothing.
        hint: &'static str,
    },
    /// The container's process has ended.
    #[error("container not running")]
    NotRunning,
    /// The program does not exist in the container.
    #[error("exec: \"{program}\": executable file not found in $PATH")]
    NotInPath {
        /// As it was asked for.
        program: String,
    },
    /// The program is there, and the interpreter or loader that it names is not.
    #[error("exec {program}: no such file or directory: that is its interpreter or loader")]
    Interpreter {
        /// As it was asked for.
        program: String,
    },
    /// The program cannot be run.
    #[error("exec: \"{program}\": {reason}")]
    Program {
        /// As it was asked for.
        program: String,
        /// Why, in the kernel's words.
        reason: String,
    },
    /// The program that is to answer the container's calls is not there.
    #[error("failed to connect with seccomp agent {}", path.display())]
    Agent {
        /// The socket where it should listen.
        path: PathBuf,
        /// The host's answer.
        source: io::Error,
    },
    /// A hook failed.
    #[error("error running {stage} hook #{index}: {why}")]
    Hook {
        /// The point of the container's life.
        stage: &'static str,
        /// Which of that point's hooks, from 0.
        index: usize,
        /// How it ended.
        why: String,
    },
    /// A step failed.
    #[error("cannot {step}")]
    Step {
        /// The step, as a verb and its object.
        step: String,
        /// The host's answer.
        source: io::Error,
    },
    /// A part shared with the backend failed.
    #[error(transparent)]
    Isolation(#[from] silo_isolation::Error),
    /// What this runtime or this host does not have.
    #[error("{0}")]
    Unsupported(String),
}

impl Error {
    /// What the user could do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Isolation(error) => error.hint(),
            _ => None,
        }
    }

    /// Wraps an I/O error with what was tried on which file.
    pub(crate) fn file(
        verb: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { verb, path, source }
    }

    /// Wraps an I/O error with the step that failed.
    pub(crate) fn step<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> Self {
        let step = step.into();
        move |source| Self::Step { step, source: source.into() }
    }

    /// That a property of the configuration cannot be as it is.
    pub(crate) fn config(property: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Config { property: property.into(), why: why.into() }
    }
}
