//! The file systems, device nodes, masked and read-only paths of every container.

use std::option::Option as Maybe;

use silo_isolation::Isolation;

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
    /// Where it is so.
    pub(crate) isolations: &'static [Isolation],
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
        isolations: &[Isolation::Default, Isolation::Docker],
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
        isolations: &[Isolation::Strict],
    },
    FileSystem {
        anchor: Anchor::Root,
        target: "dev",
        full: "/dev",
        kind: "tmpfs",
        options: &[option("mode", "755"), option("size", "64k"), option("nr_inodes", "256")],
        // Its nodes are mounts of their own: one that a guest makes opens nothing, here as elsewhere.
        attributes: QUIET,
        becomes: Some(Anchor::Dev),
        isolations: &Isolation::ALL,
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
        isolations: &Isolation::ALL,
    },
    FileSystem {
        anchor: Anchor::Dev,
        target: "shm",
        full: "/dev/shm",
        kind: "tmpfs",
        options: &[option("mode", "1777"), option("size", "64m")],
        attributes: QUIET,
        becomes: None,
        isolations: &Isolation::ALL,
    },
    FileSystem {
        anchor: Anchor::Root,
        target: "sys",
        full: "/sys",
        kind: "sysfs",
        options: &[],
        attributes: QUIET.and(Attributes::READ_ONLY),
        becomes: Some(Anchor::Sys),
        isolations: &[Isolation::Docker],
    },
    // Almost all of it tells of the machine: it is covered, and parts are shown again.
    FileSystem {
        anchor: Anchor::Root,
        target: "sys",
        full: "/sys",
        kind: "sysfs",
        options: &[],
        attributes: QUIET.and(Attributes::READ_ONLY),
        becomes: Some(Anchor::Sysfs),
        isolations: &[Isolation::Default],
    },
    FileSystem {
        anchor: Anchor::Sysfs,
        target: "",
        full: "/sys",
        kind: "tmpfs",
        options: &[option("mode", "755"), option("size", "4k"), option("nr_inodes", "64")],
        attributes: QUIET,
        becomes: Some(Anchor::Sys),
        isolations: &[Isolation::Default],
    },
];

/// What of sysfs is shown in the default isolation, where the machine has it: what runtimes look up to
/// choose how many threads to start and how to lay out memory, and the network's interfaces.
pub(crate) const SYSFS_PARTS: &[&str] = &[
    "class/net",
    "devices/system/cpu",
    "devices/system/node",
    "devices/virtual/net",
    "kernel/mm/transparent_hugepage",
];

/// The device nodes of every container, readable and writable by all: the host's own, mounted.
pub(crate) const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

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
    /// Whether only the host's root gets at it, which nobody is in a container with users of its own.
    pub(crate) is_roots: bool,
}

impl KernelPath {
    /// The path below its anchor.
    pub(crate) fn relative(&self) -> &'static str {
        self.full.trim_start_matches('/').split_once('/').map_or("", |(_, rest)| rest)
    }
}

const fn proc(full: &'static str) -> KernelPath {
    KernelPath { anchor: Anchor::Proc, full, is_roots: false }
}

const fn roots(full: &'static str) -> KernelPath {
    KernelPath { anchor: Anchor::Proc, full, is_roots: true }
}

const fn sys(full: &'static str) -> KernelPath {
    KernelPath { anchor: Anchor::Sys, full, is_roots: false }
}

/// What tells of the host or reaches it, and reads as empty in the isolation `docker`: Docker's list.
pub(crate) const DOCKERS_MASKED_PATHS: &[KernelPath] = &[
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

/// The same in the default isolation: what tells of the host as a whole but for what runtimes
/// need, which are processors, memory and load.
pub(crate) const MASKED_PATHS: &[KernelPath] = &[
    proc("/proc/acpi"),
    proc("/proc/asound"),
    proc("/proc/buddyinfo"),
    proc("/proc/bus"),
    proc("/proc/cmdline"),
    proc("/proc/config.gz"),
    proc("/proc/consoles"),
    proc("/proc/crypto"),
    proc("/proc/devices"),
    proc("/proc/diskstats"),
    proc("/proc/dma"),
    proc("/proc/driver"),
    proc("/proc/dynamic_debug"),
    proc("/proc/execdomains"),
    proc("/proc/fb"),
    proc("/proc/fs"),
    proc("/proc/interrupts"),
    proc("/proc/iomem"),
    proc("/proc/ioports"),
    proc("/proc/irq"),
    proc("/proc/kallsyms"),
    roots("/proc/kcore"),
    proc("/proc/key-users"),
    proc("/proc/keys"),
    roots("/proc/kmsg"),
    roots("/proc/kpagecgroup"),
    roots("/proc/kpagecount"),
    roots("/proc/kpageflags"),
    proc("/proc/latency_stats"),
    proc("/proc/locks"),
    proc("/proc/mdstat"),
    proc("/proc/misc"),
    proc("/proc/modules"),
    proc("/proc/mtrr"),
    roots("/proc/pagetypeinfo"),
    proc("/proc/partitions"),
    proc("/proc/pressure"),
    proc("/proc/sched_debug"),
    proc("/proc/schedstat"),
    proc("/proc/scsi"),
    roots("/proc/slabinfo"),
    proc("/proc/softirqs"),
    proc("/proc/swaps"),
    roots("/proc/sysrq-trigger"),
    roots("/proc/timer_list"),
    proc("/proc/timer_stats"),
    proc("/proc/tty"),
    roots("/proc/vmallocinfo"),
    proc("/proc/vmstat"),
    proc("/proc/zoneinfo"),
];

/// What can be read and not written in the isolation `docker`: Docker's list.
pub(crate) const DOCKERS_READ_ONLY_PATHS: &[KernelPath] = &[
    proc("/proc/bus"),
    proc("/proc/fs"),
    proc("/proc/irq"),
    proc("/proc/sys"),
    proc("/proc/sysrq-trigger"),
];

/// The same in the default isolation.
pub(crate) const READ_ONLY_PATHS: &[KernelPath] = &[proc("/proc/sys")];
