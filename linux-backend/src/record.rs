//! What is written down so that another process can clean up after this one.
//!
//! One small file in the state directory: a line for each cgroup before it is made, and a line
//! for the guest's process once there is one. It is not synced: what it names does not
//! outlive the machine's next start either.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, PidfdFlags},
};
use serde::{Deserialize, Serialize};
use silo_isolation::{Error, Result};

use crate::{cgroup, sys};

/// One line of the record.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    /// A cgroup directory.
    Cgroup(PathBuf),
    /// A process, told from later ones of the same number by when it started.
    Process {
        pid: i32,
        /// In clock ticks since the machine's start: field 22 of /proc/PID/stat.
        start: u64,
        /// Which start of the machine.
        boot: String,
    },
}

/// The record of a sandbox that is being made.
#[derive(Debug)]
pub(crate) struct Record {
    file: File,
    path: PathBuf,
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("linux.json")
}

impl Record {
    /// Starts the record with the cgroups that will be made.
    pub(crate) fn create<'a>(
        state_dir: &Path,
        cgroups: impl Iterator<Item = &'a Path>,
    ) -> Result<Self> {
        let path = path(state_dir);
        let file = File::create(&path).map_err(Error::file("make", &path))?;
        let mut record = Self { file, path };
        let entries: Vec<_> = cgroups.map(|path| Entry::Cgroup(path.to_owned())).collect();
        record.append(&entries)?;
        Ok(record)
    }

    /// The record of a sandbox that runs, to add to it.
    pub(crate) fn open(state_dir: &Path) -> Result<Self> {
        let path = path(state_dir);
        let file = File::options().append(true).open(&path).map_err(Error::file("open", &path))?;
        Ok(Self { file, path })
    }

    /// Adds a cgroup that will be made.
    pub(crate) fn cgroup(&mut self, path: &Path) -> Result<()> {
        self.append(&[Entry::Cgroup(path.to_owned())])
    }

    /// Adds the guest's process.
    pub(crate) fn process(&mut self, pid: i32) -> Result<()> {
        // Without a start time the process has ended already.
        let Some(start) = start_time(pid) else { return Ok(()) };
        self.append(&[Entry::Process { pid, start, boot: boot_id() }])
    }

    fn append(&mut self, entries: &[Entry]) -> Result<()> {
        let mut text = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut text, entry)
                .map_err(|error| Error::file("write", &self.path)(io::Error::from(error)))?;
            text.push(b'\n');
        }
        self.file.write_all(&text).map_err(Error::file("write", &self.path))
    }
}

/// Forgets the sandbox of `state_dir`.
pub(crate) fn forget(state_dir: &Path) -> Result<()> {
    let path = path(state_dir);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Ends and removes what the record of `state_dir` names.
pub(crate) fn reclaim(state_dir: &Path) -> Result<()> {
    let path = path(state_dir);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result.map_err(Error::file("read", &path))?,
    };
    // A line that was being written when its writer died names nothing that was made yet.
    let entries: Vec<Entry> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for entry in &entries {
        if let Entry::Cgroup(path) = entry {
            cgroup::thaw(path)?;
        }
    }
    for entry in &entries {
        if let Entry::Process { pid, start, boot } = entry {
            end_process(*pid, *start, boot)?;
        }
    }
    for entry in &entries {
        if let Entry::Cgroup(path) = entry {
            cgroup::destroy(path)?;
        }
    }
    forget(state_dir)
}

/// Kills a process, if it is the one that is meant, and waits until it is gone.
fn end_process(pid: i32, start: u64, boot: &str) -> Result<()> {
    let Some(handle) = Pid::from_raw(pid) else { return Ok(()) };
    let Ok(pidfd) = rustix::process::pidfd_open(handle, PidfdFlags::empty()) else {
        return Ok(());
    };
    // Read after the handle is held: it then is this process's, or the handle's is dead.
    if boot != boot_id() || start_time(pid) != Some(start) {
        return Ok(());
    }
    let failed = |errno: rustix::io::Errno| Error::Step {
        step: format!("end process {pid}"),
        source: Box::new(io::Error::from(errno)),
    };
    match sys::send_signal(pidfd.as_fd(), 9) {
        Ok(()) => wait_until_gone(&pidfd).map_err(failed),
        Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(failed(errno)),
    }
}

fn wait_until_gone(pidfd: &OwnedFd) -> Result<(), rustix::io::Errno> {
    let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
    let mut waiting = [PollFd::new(pidfd, PollFlags::IN)];
    match rustix::event::poll(&mut waiting, Some(&patience))? {
        0 => Err(rustix::io::Errno::TIMEDOUT),
        _ => Ok(()),
    }
}

/// When a process started; `None` when there is none.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    stat_field(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?, 22)
}

/// The processes in the process namespace of `pid`.
pub(crate) fn in_namespace_of(pid: i32) -> Vec<i32> {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(own) = namespace(pid) else { return Vec::new() };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| namespace(pid).as_ref() == Some(&own)).collect()
}

/// The state of a process by its letter (`proc_pid_stat(5)`).
pub(crate) fn stat_state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The field `number`, from 3, of /proc/PID/stat (proc(5)). The second is in parentheses and may
/// hold anything.
pub(crate) fn stat_field(stat: &str, number: usize) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(number.checked_sub(3)?)?.parse().ok()
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(stat_field(stat, 22), Some(4242));
    }

    #[test]
    fn a_process_of_another_start_is_left_alone() {
        let state = tempfile::tempdir().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let mut record = Record::create(state.path(), std::iter::empty()).unwrap();
        let start = start_time(own).unwrap() + 1;
        record.append(&[Entry::Process { pid: own, start, boot: boot_id() }]).unwrap();
        reclaim(state.path()).unwrap();
        assert!(!path(state.path()).exists());
    }

    #[test]
    fn a_record_cut_short_is_read_as_far_as_it_goes() {
        let state = tempfile::tempdir().unwrap();
        fs::write(path(state.path()), "{\"cgroup\":\"/nonexistent/a\"}\n{\"proc").unwrap();
        reclaim(state.path()).unwrap();
        reclaim(state.path()).unwrap();
    }
}
