//! What is written down of a container, from `create` to `delete`.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use oci_spec::runtime::Spec;
use rustix::{
    fs::{Mode, OFlags},
    net::SocketAddrUnix,
    process::{Pid, PidfdFlags},
};
use serde::{Deserialize, Serialize};

use super::{Error, Result, cgroups::Cgroups};
use crate::record::{start_time, stat_state};

/// One container's record: the file `state.json` of its directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    /// The configuration as it was when the container was made.
    pub(crate) config: Spec,
    /// When it was made (RFC 3339).
    pub(crate) created: String,
    /// The user who made it.
    pub(crate) owner: u32,
    pub(crate) cgroups: Cgroups,
    /// Its first process, and when that started, in clock ticks since the machine did: numbers come again.
    pub(crate) pid: i32,
    pub(crate) start: u64,
    /// Whether all is set up.
    pub(crate) ready: bool,
}

/// Where a container stands (runtime.md, "State"), and `Paused`, which runtimes have beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is being made.
    Creating,
    /// It waits to be started.
    Created,
    /// Its program runs.
    Running,
    /// Its program stands still.
    Paused,
    /// Its process has ended.
    Stopped,
}

impl Status {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// A container as `state` and `list` tell it, with runc's fields beside those of the specification.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Of the specification that this follows.
    pub oci_version: &'static str,
    /// Its name.
    pub id: String,
    /// Its process on the host; 0 when that has ended.
    pub pid: i32,
    /// Where it stands.
    pub status: &'static str,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Its root.
    pub rootfs: PathBuf,
    /// When it was made (RFC 3339).
    pub created: String,
    /// The name of the user who made it, or their number.
    pub owner: String,
    /// The configuration's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The version of the specification that this runtime follows.
pub(crate) const VERSION: &str = "1.2.1";

impl Record {
    /// Where it stands, in `directory`.
    pub(crate) fn status(&self, directory: &Directory) -> Status {
        if !self.is_alive() {
            Status::Stopped
        } else if !self.ready {
            Status::Creating
        } else if self.cgroups.is_frozen() {
            Status::Paused
        } else if directory.gate().exists() {
            Status::Created
        } else {
            Status::Running
        }
    }

    /// Whether its first process is there and has not ended.
    pub(crate) fn is_alive(&self) -> bool {
        self.pid > 0
            && start_time(self.pid) == Some(self.start)
            && !matches!(stat_state(self.pid), None | Some('Z' | 'X'))
    }

    /// A handle on its first process.
    pub(crate) fn process(&self) -> Result<OwnedFd> {
        let pid = Pid::from_raw(self.pid).ok_or(Error::NotRunning)?;
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty());
        // Checked after it was opened: the handle is on what is there now.
        if self.is_alive() {
            process.map_err(|_| Error::NotRunning)
        } else {
            Err(Error::NotRunning)
        }
    }

    pub(crate) fn state(&self, status: Status) -> State {
        let root = self.config.root().as_ref().map(|root| root.path().clone()).unwrap_or_default();
        State {
            oci_version: VERSION,
            id: self.id.clone(),
            pid: if status == Status::Stopped { 0 } else { self.pid },
            status: status.name(),
            bundle: self.bundle.clone(),
            rootfs: self.bundle.join(root),
            created: self.created.clone(),
            owner: user_name(self.owner),
            annotations: self.config.annotations().iter().flatten().map(own).collect(),
        }
    }
}

fn own((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

fn user_name(id: u32) -> String {
    let list = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    found.unwrap_or_else(|| id.to_string())
}

/// The directory of one container below the runtime's root.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

const STATE: &str = "state.json";
const GATE: &str = "start.sock";

impl Directory {
    /// That of `id`, which may not be there.
    pub(crate) fn of(root: &Path, id: &str) -> Result<Self> {
        let known = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        let fits = !id.is_empty() && id.len() <= 255 && !matches!(id, "." | "..");
        if !fits || !id.chars().all(known) {
            return Err(Error::Id(id.to_owned()));
        }
        Ok(Self(root.join(id)))
    }

    /// Makes it: whoever does that first has the name.
    pub(crate) fn make(root: &Path, id: &str) -> Result<Self> {
        let directory = Self::of(root, id)?;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(root).map_err(Error::file("make", root))?;
        builder.recursive(false);
        match builder.create(&directory.0) {
            Ok(()) => Ok(directory),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::Exists(id.to_owned()))
            }
            Err(error) => Err(Error::file("make", &directory.0)(error)),
        }
    }

    pub(crate) fn gate(&self) -> PathBuf {
        self.0.join(GATE)
    }

    /// Where the socket is by which its program says that it is ready, if anybody asked for that.
    pub(crate) fn notifications(&self) -> PathBuf {
        self.0.join("notify")
    }

    /// The gate's address, which is short however long the path is, and what keeps it right.
    pub(crate) fn gate_address(&self) -> Result<(SocketAddrUnix, OwnedFd)> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(&self.0, flags, Mode::empty())
            .map_err(|errno| Error::file("open", &self.0)(errno.into()))?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&handle.as_fd());
        let address = SocketAddrUnix::new(format!("/proc/self/fd/{number}/{GATE}"))
            .map_err(Error::step("name the socket of the container"))?;
        Ok((address, handle))
    }

    /// Removes the gate, which is what says that the container was started; false where somebody
    /// else has.
    pub(crate) fn remove_gate(&self) -> Result<bool> {
        match fs::remove_file(self.gate()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::file("remove", self.gate())(error)),
        }
    }

    pub(crate) fn read(&self, id: &str) -> Result<Record> {
        let path = self.0.join(STATE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| Error::Json {
                what: "the state of a container",
                path,
                source,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::Missing(id.to_owned()))
            }
            Err(error) => Err(Error::file("read", path)(error)),
        }
    }

    /// Writes the record whole. It is not synced: the container does not outlive the machine's
    /// next start either.
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        let path = self.0.join(STATE);
        let bytes = serde_json::to_vec(record).map_err(|source| Error::Json {
            what: "the state of a container",
            path: path.clone(),
            source,
        })?;
        replace(&path, &bytes)
    }

    /// Removes all of it. Nothing there is success.
    pub(crate) fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::file("remove", &self.0)(error))
            }
            _ => Ok(()),
        }
    }

    /// Whether there is one, though perhaps without a record.
    pub(crate) fn exists(&self) -> bool {
        self.0.exists()
    }
}

/// Replaces a file, so that whoever reads it finds it whole.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = fs::File::create(&temporary).and_then(|mut file| file.write_all(content));
    written.map_err(Error::file("write", &temporary))?;
    fs::rename(&temporary, path).map_err(Error::file("write", path))
}
