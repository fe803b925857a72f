//! The default policy, as tables: what a guest may do and see unless it is told otherwise.
//!
//! Everything here is plain data. [`defaults`] gives it whole, so that the documentation
//! can be generated from what is enforced.

mod capabilities;
mod paths;
mod syscalls;

use serde::Serialize;

pub(crate) use capabilities::CAPABILITIES;
pub(crate) use paths::{
    DEVICES, FILE_SYSTEMS, KernelPath, LINKS, MASKED_PATHS, Option as MountOption, READ_ONLY_PATHS,
};
pub(crate) use syscalls::{Condition, FIRST_UNKNOWN, SYSCALLS, Verdict};

/// Everything that holds for a container unless its options say otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Defaults {
    /// Capabilities of user 0, and the bounding set of everyone.
    pub capabilities: Vec<&'static str>,
    /// System calls that are permitted; all others fail with EPERM, those newer than the
    /// table with ENOSYS, and those of another ABI (i386, x32) end the program.
    pub syscalls: Vec<Syscall>,
    /// Paths that read as empty.
    pub masked_paths: Vec<&'static str>,
    /// Paths that can be read and not written.
    pub readonly_paths: Vec<&'static str>,
    /// Device nodes in /dev.
    pub devices: Vec<&'static str>,
    /// What is mounted over the image.
    pub mounts: Vec<Mounted>,
    /// Resource limits (setrlimit(2)) that are set; the others are the engine's own.
    pub rlimits: Vec<&'static str>,
    /// Bits that are taken from the modes of new files.
    pub umask: u32,
    /// Whether programs may gain privileges by execve(2): set-user-id bits, file capabilities.
    pub no_new_privs: bool,
}

/// A permitted system call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Syscall {
    /// Its name in the kernel's table.
    pub name: &'static str,
    /// On which arguments, where not on all.
    pub only: Option<&'static str>,
}

/// A file system that every container has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mounted {
    /// Where.
    pub target: &'static str,
    /// Its type, as mount(8) knows it.
    pub kind: &'static str,
    /// Its options, as mount(8) takes them.
    pub options: String,
}

/// The default policy of this build's architecture.
#[must_use]
pub fn defaults() -> Defaults {
    Defaults {
        capabilities: CAPABILITIES.iter().map(|capability| capability.name).collect(),
        syscalls: SYSCALLS
            .iter()
            .filter(|syscall| syscall.verdict.permits())
            .map(|syscall| Syscall { name: syscall.name, only: syscall.verdict.summary() })
            .collect(),
        masked_paths: MASKED_PATHS.iter().map(|path| path.full).collect(),
        readonly_paths: READ_ONLY_PATHS.iter().map(|path| path.full).collect(),
        devices: DEVICES.iter().map(|device| device.name).collect(),
        mounts: FILE_SYSTEMS.iter().map(paths::FileSystem::describe).collect(),
        rlimits: Vec::new(),
        umask: UMASK,
        no_new_privs: true,
    }
}

/// Bits taken from the modes of new files.
pub(crate) const UMASK: u32 = 0o022;

/// Where a program without a slash is searched when the environment has no `PATH`, as in Docker.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_no_wider_than_promised() {
        let defaults = defaults();
        assert!(defaults.capabilities.len() <= 11, "{}", defaults.capabilities.len());
        assert!(defaults.syscalls.len() <= 215, "{}", defaults.syscalls.len());
        assert!(defaults.no_new_privs);
    }

    #[test]
    fn no_system_call_is_listed_twice() {
        let mut numbers: Vec<_> = SYSCALLS.iter().map(|syscall| syscall.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), SYSCALLS.len());
        assert!(numbers.iter().all(|&number| number < FIRST_UNKNOWN));
    }
}
