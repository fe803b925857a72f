//! What the engine can fail with.

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};
use silo_isolation::Refusal;
use silo_layers::Platform;

use crate::Status;

/// The result of an engine's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An engine's failure. Each says what failed and on what; the cause is its source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No container has that name or id.
    #[error("no such container: {0}")]
    NotFound(String),
    /// Several containers' ids begin with that.
    #[error("`{query}` is the beginning of {} containers' ids", ids.len())]
    Ambiguous {
        /// What was looked for.
        query: String,
        /// The ids.
        ids: Vec<String>,
    },
    /// The name is another container's.
    #[error("the name `{name}` is in use by container {id}")]
    NameInUse {
        /// The name.
        name: String,
        /// Whose it is.
        id: String,
    },
    /// The operation needs the container to be in another state.
    #[error("container {name} is {status}")]
    WrongState {
        /// The container.
        name: String,
        /// Its state.
        status: Status,
        /// What the user could do.
        hint: &'static str,
    },
    /// Another process is starting or removing the container at this moment.
    #[error("container {0} is being started or removed by another command")]
    Busy(String),
    /// An option's value is wrong.
    #[error("invalid {what} `{value}`: {why}")]
    Invalid {
        /// The option or property.
        what: &'static str,
        /// What it was given.
        value: String,
        /// Why that is wrong, in one clause.
        why: String,
    },
    /// A volume was given by name.
    #[error("`{name}` names a volume, and there are no named volumes yet")]
    NamedVolume {
        /// The name.
        name: String,
    },
    /// The image says neither what to run nor was it given.
    #[error("no command: image {image} has none and none was given")]
    NoCommand {
        /// The image.
        image: String,
    },
    /// No backend of that name.
    #[error("no backend `{name}` on this host")]
    UnknownBackend {
        /// As it was asked for.
        name: String,
        /// What there is.
        available: Vec<&'static str>,
    },
    /// No backend here runs what was asked for.
    #[error("no backend on this host runs {platform} images")]
    NoBackend {
        /// As it was asked for.
        platform: Platform,
        /// What there is: name and platforms.
        available: Vec<String>,
    },
    /// The chosen backend does not run the chosen platform.
    #[error("backend `{backend}` does not run {platform} images")]
    BackendPlatform {
        /// As it was asked for.
        backend: String,
        /// The platform that was asked for or that the image has.
        platform: Platform,
        /// What the backend runs.
        runs: Vec<Platform>,
    },
    /// The backend cannot honour what the bundle asks for.
    #[error("the {backend} backend cannot honour {}", refusals(refused))]
    Refused {
        /// Its name.
        backend: String,
        /// Everything that it cannot honour.
        refused: Vec<Refusal>,
    },
    /// The backend that was to run the container cannot do this.
    #[error("the {backend} backend cannot {what}")]
    NotOffered {
        /// Its name.
        backend: String,
        /// What was asked for, as a verb.
        what: &'static str,
    },
    /// The container runs and cannot be made to stand still.
    #[error("the container cannot be paused here")]
    NoPause {
        /// What the user could do instead.
        instead: &'static str,
    },
    /// A container that was to be paused is.
    #[error("container {0} is already paused")]
    AlreadyPaused(String),
    /// A container that was to go on is not paused.
    #[error("container {0} is not paused")]
    NotPaused(String),
    /// The operation needs the container to go on first.
    #[error("container {name} is paused, unpause the container before {before}")]
    Paused {
        /// The container.
        name: String,
        /// What was to be done.
        before: &'static str,
    },
    /// A file that silo wrote cannot be understood.
    #[error("damaged file {}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The container that it belongs to.
        container: String,
        /// What is wrong with it.
        source: serde_json::Error,
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
    /// The supervisor could not be started or talked to.
    #[error("cannot {step}")]
    Supervisor {
        /// What was tried.
        step: &'static str,
        /// The host's answer.
        source: io::Error,
    },
    /// What the guest wrote could not be passed on.
    #[error("cannot write the container's output")]
    Output {
        /// The host's answer.
        source: io::Error,
    },
    /// A container that is to be attached to does not run.
    #[error("cannot attach to a {state} container, {first} it first")]
    CannotAttach {
        /// How it is instead.
        state: &'static str,
        /// What the user could do, as a verb.
        first: &'static str,
    },
    /// The client detached from a container that goes on.
    #[error("read escape sequence")]
    Detached,
    /// The supervisor ended without saying how the container ended.
    #[error("the supervisor of container {0} ended unexpectedly")]
    SupervisorLost(String),
    /// A supervisor or a backend inside it reports a failure.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The image or the store of images could not be used.
    #[error(transparent)]
    Image(#[from] silo_layers::Error),
    /// Files could not be copied.
    #[error(transparent)]
    Copy(#[from] silo_layers::copy::CopyError),
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] silo_isolation::Error),
}

fn refusals(refused: &[Refusal]) -> String {
    let each: Vec<_> = refused.iter().map(|r| format!("{}: {}", r.what, r.why)).collect();
    each.join("; ")
}

impl Error {
    /// Wraps an I/O error with what was tried on which file.
    pub fn file(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { verb, path, source }
    }

    pub(crate) fn invalid(what: &'static str, value: &str, why: impl Into<String>) -> Self {
        Self::Invalid { what, value: value.to_owned(), why: why.into() }
    }

    /// What the user could do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound(_) => Some("`silo ps -a` lists all containers".to_owned()),
            Self::Ambiguous { ids, .. } => Some(format!("they are {}", ids.join(", "))),
            Self::NameInUse { name, .. } => {
                Some(format!("remove it (`silo rm {name}`) or choose another name"))
            }
            Self::WrongState { hint, .. } => Some((*hint).to_owned()),
            Self::Busy(_) => Some("try again".to_owned()),
            Self::NamedVolume { name } => {
                Some(format!("for a directory of the host write `./{name}` or an absolute path"))
            }
            Self::NoPause { instead } => {
                Some(format!("it needs a cgroup that silo may write; {instead}"))
            }
            Self::Paused { name, .. } => Some(format!("let it go on: `silo unpause {name}`")),
            Self::NoCommand { .. } => Some("name the program after the image".to_owned()),
            Self::UnknownBackend { available, .. } => {
                Some(format!("there is {}", available.join(", ")))
            }
            Self::NoBackend { available, .. } => Some(format!("there is {}", available.join(", "))),
            Self::BackendPlatform { runs, .. } => {
                let runs: Vec<_> = runs.iter().map(ToString::to_string).collect();
                Some(format!("it runs {}", runs.join(", ")))
            }
            Self::File { source, .. } if source.kind() == io::ErrorKind::StorageFull => Some(
                "free some space: `silo rm` and `silo rmi` remove what is not needed".to_owned(),
            ),
            Self::Corrupt { container, .. } => {
                Some(format!("remove the container: `silo rm -f {container}`"))
            }
            Self::Failure(failure) => failure.hint.clone(),
            Self::Image(error) => error.hint().map(str::to_owned),
            Self::Backend(error) => error.hint().map(str::to_owned),
            _ => None,
        }
    }

    /// The exit code that Docker gives this failure: 127, 126, 125, or 1 where a verb that runs
    /// no program failed; the caller knows which verb that was.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failure(failure) => failure.exit_code,
            Self::Backend(error) => error.exit_code(),
            _ => 125,
        }
    }
}

/// A failure in another process, as it comes over the control connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What failed.
    pub message: String,
    /// Why, the nearest cause as this one's source.
    pub source: Option<Box<Cause>>,
    /// What the user could do.
    pub hint: Option<String>,
    /// 125, 126 or 127.
    pub exit_code: u8,
}

/// A cause of a [`Failure`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Cause {
    /// What failed.
    pub message: String,
    /// Why.
    pub source: Option<Box<Self>>,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        fn cause(error: &dyn std::error::Error) -> Cause {
            let source = error.source().map(cause).map(Box::new);
            Cause { message: error.to_string(), source }
        }
        Self {
            message: error.to_string(),
            source: std::error::Error::source(error).map(cause).map(Box::new),
            hint: error.hint(),
            exit_code: error.exit_code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn a_failure_keeps_message_causes_hint_and_exit_code() {
        let inner = silo_isolation::Error::NotPermitted {
            what: "make a user namespace".to_owned(),
            hint: "enable it".to_owned(),
            source: io::Error::from(io::ErrorKind::PermissionDenied),
        };
        let failure = Failure::from(&Error::from(inner));
        assert_eq!(failure.message, "not permitted to make a user namespace");
        assert_eq!(failure.source().unwrap().to_string(), "permission denied");
        assert_eq!(failure.hint.as_deref(), Some("enable it"));
        let text = serde_json::to_string(&failure).unwrap();
        assert_eq!(serde_json::from_str::<Failure>(&text).unwrap(), failure);
    }

    #[test]
    fn a_missing_program_is_127_through_the_engine() {
        let error = silo_isolation::Error::ProgramNotFound { program: "x".to_owned(), path: None };
        assert_eq!(Failure::from(&Error::from(error)).exit_code, 127);
    }
}
