//! The file systems, device nodes, masked and read-only paths of every container.

use std::option::Option as Maybe;

use super::Mounted;
use crate::{plan::Anchor, sys::Attributes};

/// One option of a new file system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Option {
    pub(crate) key: &'static str,
    pub(crate) value: &'static str,
    /// Whether it names an id other than 0, which not every user namespace has.
    pub(crate) names_another: bool,
}

/// A file system that every container has, in the order of mounting.
pub(crate) struct FileSystem {
    pub(crate) anchor: Anchor,
    /// Its place below the anchor.
    pub(crate) target: &'static str,
    pub(crate) full: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) options: &'static [Option],
    pub(crate) attributes: Attributes,
    /// Which anchor it is for what follows.
    pub(crate) becomes: Maybe<Anchor>,
    /// Whether only the isolation `strict` has it, or only the others; `None` where all have.
    pub(crate) strict: Maybe<bool>,
}

impl FileSystem {
    pub(super) fn describe(&self) -> Mounted {
        let attributes = [(1, "ro"), (2, "nosuid"), (4, "nodev"), (8, "noexec")]
            .iter()
            .filter(|(bit, _)| self.attributes.0 & bit != 0)
            .map(|(_, name)| (*name).to_owned());
        let options = self.options.iter().map(|option| format!("{}={}", option.key, option.value));
        let options: Vec<_> = attributes.chain(options).collect();
        Mounted { target: self.full, kind: self.kind, options: options.join(",") }
    }
}

const fn option(key: &'static str, value: &'static str) -> Option {
    Option { key, value, names_another: false }
}

const QUIET: Attributes = Attributes::NO_SUID.and(Attributes::NO_DEV).and(Attributes::NO_EXEC);

/// The file systems of every container.
pub(crate) const FILE_SYSTEMS: &[FileSystem] = &[
    FileSystem {
        anchor: Anchor::Root,
        target: "proc",
        full: "/proc",
        kind: "proc",
        options: &[],
        attributes: QUIET,
        becomes: Some(Anchor::Proc),
        strict: Some(false),
    },
    FileSystem {
        anchor: Anchor::Root,
        target: "proc",
        full: "/proc",
        kind: "proc",
        // Processes alone, of which each sees its own (proc(5), Linux 5.8).
        options: &[option("subset", "pid"), option("hidepid", "invisible")],
        attributes: QUIET,
        becomes: Some(Anchor::Proc),
        strict: Some(true),
    },
    FileSystem {
        anchor: Anchor::Root,
        target: "dev",
        full: "/dev",
        kind: "tmpfs",
        options: &[option("mode", "755"), option("size", "64k"), option("nr_inodes", "256")],
        attributes: Attributes::NO_SUID.and(Attributes::NO_EXEC),
        becomes: Some(Anchor::Dev),
        strict: None,
    },
    FileSystem {
        anchor: Anchor::Dev,
        target: "pts",
        full: "/dev/pts",
        kind: "devpts",
        options: &[
            option("ptmxmode", "0666"),
            option("mode", "0620"),
            // Debian's group `tty`.
            Option { key: "gid", value: "5", names_another: true },
        ],
        attributes: Attributes::NO_SUID.and(Attributes::NO_EXEC),
        becomes: None,
        strict: None,
    },
    FileSystem {
        anchor: Anchor::Dev,
        target: "shm",
        full: "/dev/shm",
        kind: "tmpfs",
        options: &[option("mode", "1777"), option("size", "64m")],
        attributes: QUIET,
        becomes: None,
        strict: None,
    },
    FileSystem {
        anchor: Anchor::Root,
        target: "sys",
        full: "/sys",
        kind: "sysfs",
        options: &[],
        attributes: QUIET.and(Attributes::READ_ONLY),
        becomes: Some(Anchor::Sys),
        strict: Some(false),
    },
];

/// A character device.
pub(crate) struct Device {
    pub(crate) name: &'static str,
    /// On the host, to bind where a node cannot be made.
    pub(crate) host: &'static str,
    /// Its major and minor number (admin-guide/devices.txt in the kernel).
    pub(crate) number: (u32, u32),
}

const fn device(name: &'static str, host: &'static str, minor: u32, major: u32) -> Device {
    Device { name, host, number: (major, minor) }
}

/// The device nodes of every container, readable and writable by all.
pub(crate) const DEVICES: &[Device] = &[
    device("null", "/dev/null", 3, 1),
    device("zero", "/dev/zero", 5, 1),
    device("full", "/dev/full", 7, 1),
    device("random", "/dev/random", 8, 1),
    device("urandom", "/dev/urandom", 9, 1),
    device("tty", "/dev/tty", 0, 5),
];

/// Symbolic links in /dev: name and target.
pub(crate) const LINKS: &[(&str, &str)] = &[
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// A path of the kernel's own file systems.
pub(crate) struct KernelPath {
    pub(crate) anchor: Anchor,
    pub(crate) full: &'static str,
}

impl KernelPath {
    /// The path below its anchor.
    pub(crate) fn relative(&self) -> &'static str {
        self.full.trim_start_matches('/').split_once('/').map_or("", |(_, rest)| rest)
    }
}

const fn proc(full: &'static str) -> KernelPath {
    KernelPath { anchor: Anchor::Proc, full }
}

const fn sys(full: &'static str) -> KernelPath {
    KernelPath { anchor: Anchor::Sys, full }
}

/// What tells of the host or reaches it, and reads as empty: Docker's list.
pub(crate) const MASKED_PATHS: &[KernelPath] = &[
    proc("/proc/acpi"),
    proc("/proc/asound"),
    proc("/proc/interrupts"),
    proc("/proc/kcore"),
    proc("/proc/keys"),
    proc("/proc/latency_stats"),
    proc("/proc/sched_debug"),
    proc("/proc/scsi"),
    proc("/proc/timer_list"),
    proc("/proc/timer_stats"),
    sys("/sys/devices/virtual/powercap"),
    sys("/sys/firmware"),
];

/// What can be read and not written: Docker's list.
pub(crate) const READ_ONLY_PATHS: &[KernelPath] = &[
    proc("/proc/bus"),
    proc("/proc/fs"),
    proc("/proc/irq"),
    proc("/proc/sys"),
    proc("/proc/sysrq-trigger"),
];
