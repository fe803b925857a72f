//! Letting all processes of a sandbox stand still.
//!
//! Version 2 has that in every cgroup (cgroup-v2.rst, "cgroup.freeze"). In version 1 it takes a
//! hierarchy of its own (cgroup-v1/freezer-subsystem.rst), into which a sandbox's processes move when
//! they are frozen for the first time: most never are.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use silo_isolation::{Error, Result};

use super::{Cgroup, Hierarchy, processes};

/// How long the kernel may take: a process in an uninterruptible sleep is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_micros(500);

/// Where a sandbox's processes are frozen.
#[derive(Debug)]
pub(crate) struct Freezer {
    path: PathBuf,
    unified: bool,
}

impl Freezer {
    /// The freezer of a sandbox whose processes are all in `cgroup`; `None` where there is none.
    pub(crate) fn of(cgroup: &Cgroup) -> Option<Self> {
        let (path, unified) = cgroup.directories.first()?;
        if *unified {
            return Some(Self { path: path.clone(), unified: true });
        }
        Hierarchy::freezer(path).map(|path| Self { path, unified: false })
    }

    /// Freezes the processes of `cgroup`, those that they start meanwhile among them.
    pub(crate) fn freeze(&self, cgroup: &Cgroup) -> Result<()> {
        if self.unified {
            write(&self.path, "cgroup.freeze", "1")?;
            return self.wait(|path| {
                let events = read(path, "cgroup.events")?;
                Ok(super::field(&events, "frozen") == Some(1))
            });
        }
        fs::create_dir_all(&self.path).map_err(Error::file("make", &self.path))?;
        write(&self.path, "freezer.state", "FROZEN")?;
        // A process that starts another on its way here has it start outside.
        while self.take_in(cgroup)? {}
        self.wait(|path| {
            // Reading it is what has the kernel look again.
            Ok(read(path, "freezer.state")?.trim() == "FROZEN")
        })
    }

    /// Moves in the processes that are not here yet; tells whether there were any.
    fn take_in(&self, cgroup: &Cgroup) -> Result<bool> {
        let here = processes(&self.path);
        let missing: Vec<_> =
            cgroup.processes().into_iter().filter(|pid| !here.contains(pid)).collect();
        for pid in &missing {
            match write(&self.path, "cgroup.procs", &pid.to_string()) {
                // It has ended.
                Err(Error::File { source, .. })
                    if source.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                result => result?,
            }
        }
        Ok(!missing.is_empty())
    }

    /// Lets them go on; nothing to do is success.
    pub(crate) fn thaw(&self) -> Result<()> {
        let (file, value) =
            if self.unified { ("cgroup.freeze", "0") } else { ("freezer.state", "THAWED") };
        match write(&self.path, file, value) {
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Removes what version 1 took.
    pub(crate) fn remove(&self) -> Result<()> {
        if self.unified { Ok(()) } else { super::remove(&self.path) }
    }

    fn wait(&self, frozen: impl Fn(&Path) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !frozen(&self.path)? {
            if Instant::now() > deadline {
                self.thaw()?;
                return Err(Error::Step {
                    step: "pause the container".to_owned(),
                    source: io::Error::from(io::ErrorKind::TimedOut).into(),
                });
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// The freezer of a sandbox that another process made, by one of its other cgroups.
fn left_behind(cgroup: &Path) -> Option<Freezer> {
    let path = Hierarchy::freezer(cgroup).filter(|path| path.exists())?;
    Some(Freezer { path, unified: false })
}

/// Lets the processes of a sandbox that another process made go on: frozen, they could not end.
pub(crate) fn thaw(cgroup: &Path) -> Result<()> {
    left_behind(cgroup).map_or(Ok(()), |freezer| freezer.thaw())
}

/// Removes the freezer of such a sandbox, after its processes.
pub(super) fn remove(cgroup: &Path) -> Result<()> {
    left_behind(cgroup).map_or(Ok(()), |freezer| freezer.remove())
}

fn read(path: &Path, file: &str) -> Result<String> {
    let path = path.join(file);
    fs::read_to_string(&path).map_err(Error::file("read", path))
}

fn write(path: &Path, file: &str, value: &str) -> Result<()> {
    let path = path.join(file);
    fs::write(&path, value).map_err(Error::file("write", path))
}
