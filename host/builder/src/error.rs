//! What building can fail with.

use std::{io, path::PathBuf};

use silo_layers::copy::CopyError;

use crate::parse::{Fault, Place, Position, Source};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An image could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The Dockerfile says something that cannot be done.
    #[error("{place}: {message}\n{excerpt}")]
    Dockerfile {
        /// File, line and column.
        place: String,
        /// What is wrong, in one clause.
        message: String,
        /// The line, with a mark below the place.
        excerpt: String,
        /// What to do about it, or what it would need.
        hint: Option<String>,
    },
    /// An instruction failed.
    #[error("{place}: cannot {what}\n{excerpt}")]
    Step {
        /// File, line and column.
        place: String,
        /// What it was to do, as a verb with its object.
        what: String,
        /// The line, with a mark below the place.
        excerpt: String,
        /// Why.
        source: Box<Error>,
    },
    /// A command ended with another exit code than 0.
    #[error("{place}: the command ended with exit code {code}\n{excerpt}{}", below(.tail))]
    Run {
        /// File, line and column.
        place: String,
        /// The exit code.
        code: u8,
        /// The line, with a mark below the place.
        excerpt: String,
        /// The last lines that it wrote.
        tail: String,
    },
    /// A line of `.dockerignore` is no pattern.
    #[error("{file}:{line}: `{text}` is no pattern of paths")]
    Ignore {
        /// The file.
        file: String,
        /// The line's number.
        line: usize,
        /// The line.
        text: String,
    },
    /// There is no stage of that name or number.
    #[error("there is no stage `{name}`")]
    NoStage {
        /// As it was asked for.
        name: String,
        /// The names that there are.
        stages: Vec<String>,
    },
    /// There is no such directory to build of.
    #[error("cannot {verb} the context {}", path.display())]
    Context {
        /// What was attempted: `open`.
        verb: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the host could not be worked with.
    #[error("cannot {verb} {}", path.display())]
    File {
        /// What was attempted: `read`.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is to be copied cannot be looked at.
    #[error("cannot look at `{path}`")]
    Source {
        /// As it was written.
        path: String,
        /// Why.
        source: silo_layers::union::FsError,
    },
    /// An image could not be had.
    #[error("cannot have image {image}")]
    Image {
        /// As it was asked for.
        image: String,
        /// What to do about it.
        hint: Option<String>,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It was to end.
    #[error("interrupted")]
    Interrupted,
    /// Of images and the store.
    #[error(transparent)]
    Layers(#[from] silo_layers::Error),
    /// Of the engine.
    #[error(transparent)]
    Engine(#[from] silo_engine::Error),
    /// Of copying.
    #[error(transparent)]
    Copy(#[from] CopyError),
}

impl Error {
    pub(crate) fn fault(source: &Source, fault: Fault) -> Self {
        Self::Dockerfile {
            place: Place(source, fault.at).to_string(),
            excerpt: source.excerpt(fault.at),
            message: fault.message,
            hint: fault.hint,
        }
    }

    /// The same as the cause of an instruction's failure. What tells its place already stays.
    pub(crate) fn at(self, source: &Source, at: Position, what: &str) -> Self {
        match self {
            Self::Dockerfile { .. } | Self::Step { .. } | Self::Run { .. } | Self::Interrupted => {
                self
            }
            other => Self::Step {
                place: Place(source, at).to_string(),
                excerpt: source.excerpt(at),
                what: what.to_owned(),
                source: Box::new(other),
            },
        }
    }

    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Dockerfile { hint, .. } | Self::Image { hint, .. } => hint.clone(),
            Self::Step { source, .. } => source.hint(),
            Self::NoStage { stages, .. } if stages.is_empty() => {
                Some("no stage has a name; they are counted from 0".to_owned())
            }
            Self::NoStage { stages, .. } => Some(format!("there are {}", stages.join(", "))),
            Self::Context { .. } => Some("name a directory: `silo build DIR`".to_owned()),
            Self::Layers(error) | Self::Copy(CopyError::Host(error)) => {
                error.hint().map(str::to_owned)
            }
            Self::Engine(error) => error.hint(),
            _ => None,
        }
    }
}

/// What a command wrote, if anything, below what is told of it.
fn below(tail: &str) -> String {
    if tail.is_empty() { String::new() } else { format!("\n{tail}") }
}
