//! The bundle: one container as plain data.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use silo_layers::{Platform, Snapshot};

use crate::{Limits, Network, NetworkAccess, Security};

/// Where programs are looked for when nothing says otherwise: Docker's `PATH`.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything that one container is. Validated by whoever makes it: paths inside the guest
/// are absolute and contain no `.` or `..`, no string holds a NUL, `process.args` is not empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bundle {
    /// The container's id: 64 lower-case hexadecimal digits, unique on this host.
    pub id: String,
    /// What the image was made for; the backend was chosen by it.
    pub platform: Platform,
    /// The root file system.
    pub root: Root,
    /// The program to run.
    pub process: Process,
    /// The guest's host name, where the backend has one; by default the id's first 12 digits.
    pub hostname: String,
    /// What is placed over the root file system, in order.
    pub mounts: Vec<Mount>,
    /// What of the network the guest sees.
    pub network: Network,
    /// What it may use beyond that, or is held to.
    #[serde(default)]
    pub access: NetworkAccess,
    /// Components in the guest's files whose exports become what the program imports, by paths inside.
    #[serde(default)]
    pub components: Vec<String>,
    /// What the guest may use up.
    pub limits: Limits,
    /// How it is kept apart, beyond the backend's defaults.
    #[serde(default)]
    pub security: Security,
    /// Settings of the guest's kernel by their names: `net.ipv4.ip_forward`.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Whether the program runs below a first process that passes signals on to it and reaps what
    /// others leave.
    #[serde(default)]
    pub init: bool,
    /// An existing directory of this container's own, where the backend keeps what it needs to
    /// find and remove its sandbox again.
    pub state_dir: PathBuf,
}

/// The root file system of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The image's layers and the container's upper.
    pub snapshot: Snapshot,
    /// Whether the guest is kept from changing it.
    pub readonly: bool,
    /// Whether nobody will want the upper once the guest has ended: what the guest syncs need not
    /// reach a disk.
    #[serde(default)]
    pub volatile: bool,
}

/// A program and what it is started with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The program and its arguments. A program without a slash is looked up in the guest's `PATH`.
    pub args: Vec<String>,
    /// `NAME=value` pairs: the whole environment, nothing is added from the host's.
    pub env: Vec<String>,
    /// The working directory inside the guest; created where it does not exist.
    pub cwd: String,
    /// Whom to run as, or `None` for the backend's default (user 0 where there are users).
    pub user: Option<User>,
    /// Whether stdio is a terminal that the backend allocates.
    pub terminal: bool,
}

/// A user inside the guest, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub additional_gids: Vec<u32>,
}

/// A file tree placed over the root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, inside the guest. Created in the container's upper where it does not exist.
    pub destination: String,
    /// What.
    pub kind: MountKind,
    /// Whether the guest is kept from changing it.
    pub readonly: bool,
}

/// What a [`Mount`] places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum MountKind {
    /// A file or directory of the host, which exists.
    Bind {
        /// Its absolute path on the host.
        source: PathBuf,
    },
    /// An empty file system in memory that goes with the sandbox.
    Tmpfs {
        /// The most it holds, in bytes.
        size: Option<u64>,
        /// Permission bits of its root, 0o1777 by default.
        mode: Option<u32>,
    },
}
