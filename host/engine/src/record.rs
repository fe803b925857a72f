//! What is written about a container, and what is told of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use silo_isolation::{Bundle, Exit, Publication, Signal};
use silo_layers::{Digest, Platform};

/// What a container is: written at its creation as `config.json`, and again only by `rename` and `update`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// 64 lower-case hexadecimal digits; the same as the bundle's.
    pub id: String,
    /// Unique among the containers of this root.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// The image that it was made from.
    pub image: ImageRecord,
    /// The name of the backend that runs it.
    pub backend: String,
    /// Whether stdin stays open (`-i`).
    pub interactive: bool,
    /// Whether it is removed when it has ended (`--rm`).
    pub auto_remove: bool,
    /// What `stop` sends first.
    pub stop_signal: Signal,
    /// What an image made of it runs.
    #[serde(default)]
    pub run: RunConfig,
    /// What the backend is given.
    pub bundle: Bundle,
}

/// What a container runs, in the terms of an image's config: the image's own with what was asked
/// for in place of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunConfig {
    /// The program and the arguments that it always gets.
    pub entrypoint: Vec<String>,
    /// The program where there is no entrypoint, else more arguments.
    pub cmd: Vec<String>,
    /// `NAME=value` pairs, without those that every container gets.
    pub env: Vec<String>,
    /// `USER[:GROUP]`, by name or number; empty for the backend's default.
    pub user: String,
    /// The working directory; empty for the root directory.
    pub working_dir: String,
}

/// The image of a container, as it was when the container was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// As the user named it.
    pub name: String,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The digest of its config: the image's id.
    pub id: Digest,
    /// What it was made for.
    pub platform: Platform,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It has never been started.
    #[default]
    Created,
    /// Its supervisor lives.
    Running,
    /// The same, and its guest stands still.
    Paused,
    /// It has ended.
    Exited,
}

impl Status {
    /// As it is written: `created`, `running`, `paused`, `exited`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Exited => "exited",
        }
    }

    /// Whether it has a guest that has not ended, be it that it stands still.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a container fares: rewritten at each change, as `state.json`. A container without that
/// file has never been started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Where it is in its life.
    pub status: Status,
    /// The guest's process on the host while it runs, where it has one of its own.
    pub pid: Option<u32>,
    /// The supervisor's process while it runs.
    pub supervisor: Option<u32>,
    /// When it was started last.
    pub started: Option<Timestamp>,
    /// When it ended last.
    pub finished: Option<Timestamp>,
    /// How it ended last, once it has ended by itself or by a signal.
    pub exit: Option<Exit>,
    /// The exit code, once it has ended or failed to start.
    pub exit_code: Option<u8>,
    /// Why it could not be started, or what befell its supervisor.
    pub error: Option<String>,
    /// The ports of the host that lead to it while it runs.
    #[serde(default)]
    pub ports: Vec<Publication>,
}

impl State {
    /// Whether the memory limit ended a process of it.
    #[must_use]
    pub fn oom_killed(&self) -> bool {
        self.exit.as_ref().is_some_and(|exit| exit.oom_killed)
    }
}

/// A container and how it fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What it is.
    pub container: Container,
    /// How it fares.
    pub state: State,
}

impl Summary {
    /// The id's first twelve digits, as listings show it.
    #[must_use]
    pub fn short_id(&self) -> &str {
        self.container.id.get(..12).unwrap_or(&self.container.id)
    }
}

/// All containers, and what could not be read of some.
#[derive(Debug, Default)]
pub struct Listing {
    /// The newest first.
    pub containers: Vec<Summary>,
    /// One error for each container whose files are damaged.
    pub damaged: Vec<crate::Error>,
}

/// Which of the container's outputs a line or a piece came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One entry of a container's log, in the fields of Docker's json-file format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The text, with its line end where it has one. A long line comes in several entries, of
    /// which only the last has a line end.
    pub log: String,
    /// Where it came from.
    pub stream: Stream,
    /// When it was read from the guest.
    pub time: Timestamp,
}

/// What the containers occupy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// How many there are.
    pub total: u64,
    /// How many of them run.
    pub running: u64,
    /// Bytes on the disk of their uppers, logs, records, names and sockets.
    pub size: u64,
    /// The bytes that removing all that do not run would free.
    pub reclaimable: u64,
}

/// What `prune` removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The containers' ids.
    pub ids: Vec<String>,
    /// The bytes on the disk that their files had.
    pub freed: u64,
}

/// What `check` found wrong with the containers, each a sentence for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Problems; repaired ones say so.
    pub problems: Vec<Problem>,
}

/// One thing that `check` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong, naming the file or container.
    pub what: String,
    /// Whether it was put right.
    pub repaired: bool,
}
