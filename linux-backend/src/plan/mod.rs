//! The plan: all that the child is to do, computed in the parent.
//!
//! A plan is a function of the bundle and of [`Facts`] about the host, and is printable: tests
//! compare it without being root. The child only follows it.

mod devices;
mod identity;
mod landlock;
mod mounts;
mod priorities;
mod program;
mod resources;
mod root;

use std::{ffi::CString, fmt, path::PathBuf};

use silo_isolation::{AppArmor, Bundle, Error, Network, Process, Result};

pub(crate) use devices::{BOUND, DeviceNode, Link, Node};
pub(crate) use identity::{Capabilities, Identity};
pub(crate) use landlock::Landlock;
pub(crate) use mounts::{KernelMount, MountPlan, Source, is_root};
pub(crate) use priorities::Priorities;
pub(crate) use program::Program;
pub(crate) use resources::{ProcessLimit, Sysctl, kernel_setting, kernels, sysctl_path};
pub(crate) use root::RootPlan;

use crate::{
    cgroup::{self, Directory},
    facts::{Facts, Uptime},
    policy::{Policy, UMASK},
    seccomp::Filter,
};

/// A directory that paths of the plan start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// The container's root.
    Root,
    /// Its /dev.
    Dev,
    /// Its /proc.
    Proc,
    /// Its /sys.
    Sys,
    /// The whole sysfs, where /sys shows only parts of it.
    Sysfs,
}

/// The plan of a sandbox.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What the parent makes beforehand.
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) files: Vec<StateFile>,
    pub(crate) cgroups: Vec<Directory>,
    /// What the child is cloned with.
    pub(crate) namespaces: Namespaces,
    /// What the parent does for the child, which waits: it writes these.
    pub(crate) id_maps: Vec<IdMap>,
    /// What the child does, in this order. It unshares the view of its cgroup, and the clocks.
    pub(crate) unshared: Namespaces,
    pub(crate) clocks: Option<String>,
    pub(crate) sysctls: Vec<Sysctl>,
    pub(crate) root: RootPlan,
    pub(crate) mounts: Vec<MountPlan>,
    pub(crate) devices: Vec<DeviceNode>,
    pub(crate) links: Vec<Link>,
    pub(crate) masked: Vec<KernelMount>,
    pub(crate) read_only: Vec<KernelMount>,
    pub(crate) late_mounts: Vec<MountPlan>,
    pub(crate) hostname: String,
    pub(crate) loopback: bool,
    pub(crate) process: ProcessPlan,
}

/// The plan of a process: the container's first, or one that joins it.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    pub(crate) program: Program,
    pub(crate) working_directory: CString,
    pub(crate) identity: Identity,
    pub(crate) landlock: Option<Landlock>,
    /// `None` where all calls are permitted.
    pub(crate) filter: Option<Filter>,
    /// Whether it is installed when the process was let go, not before: it may refuse what the
    /// waiting takes.
    pub(crate) filter_last: bool,
    pub(crate) no_new_privileges: bool,
    /// Bits that are taken from the modes of new files.
    pub(crate) umask: u32,
    /// The first descriptor that the program does not get.
    pub(crate) first_closed: u32,
    /// What is told AppArmor of the next program (`/proc/PID/attr/apparmor/exec`).
    pub(crate) apparmor: Option<String>,
    /// What the next program is to SELinux (`/proc/PID/attr/exec`).
    pub(crate) selinux: Option<String>,
    pub(crate) limits: Vec<ProcessLimit>,
    /// That the program runs below an init process, and what that is to cover.
    pub(crate) init: Option<Arguments>,
    pub(crate) priorities: Priorities,
    /// An execution domain (personality(2)).
    pub(crate) personality: Option<u32>,
    /// What goes into `/proc/self/oom_score_adj`.
    pub(crate) oom_score_adj: Option<String>,
}

/// Where a process's arguments are in its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// A file of the container's state directory that is bound into it.
#[derive(Debug)]
pub(crate) struct StateFile {
    pub(crate) path: PathBuf,
    pub(crate) content: String,
}

/// A file of /proc/PID that takes the mapping of ids, and what it takes (`user_namespaces(7)`).
#[derive(Debug)]
pub(crate) struct IdMap {
    pub(crate) file: &'static str,
    pub(crate) content: String,
}

/// `CLONE_NEW*` flags of clone3(2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Namespaces(pub(crate) u32);

const NAMESPACES: [(u32, &str); 8] = [
    (0x0000_0080, "time"),
    (0x0002_0000, "mount"),
    (0x0200_0000, "cgroup"),
    (0x0400_0000, "uts"),
    (0x0800_0000, "ipc"),
    (0x1000_0000, "user"),
    (0x2000_0000, "pid"),
    (0x4000_0000, "network"),
];

impl Namespaces {
    /// All that every process is cloned into. The cgroup namespace is not among them: it is
    /// unshared by the child once it is in its cgroup, whose view it is to be. Nor is that of time:
    /// its clocks are set before anybody lives in it.
    const ALWAYS: Self = Self(0x0002_0000 | 0x0400_0000 | 0x0800_0000 | 0x2000_0000);
    pub(crate) const MOUNT: Self = Self(0x0002_0000);
    pub(crate) const TIME: Self = Self(0x0000_0080);
    pub(crate) const CGROUP: Self = Self(0x0200_0000);
    pub(crate) const UTS: Self = Self(0x0400_0000);
    pub(crate) const IPC: Self = Self(0x0800_0000);
    pub(crate) const PID: Self = Self(0x2000_0000);
    pub(crate) const USER: Self = Self(0x1000_0000);
    pub(crate) const NETWORK: Self = Self(0x4000_0000);

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn of(bundle: &Bundle, facts: &Facts) -> Self {
        let mut namespaces = Self::ALWAYS;
        if bundle.network == Network::None {
            namespaces = namespaces.and(Self::NETWORK);
        }
        if facts.ids.user_namespace() {
            namespaces = namespaces.and(Self::USER);
        }
        namespaces
    }
}

impl fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMESPACES.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, name)| name);
        f.debug_list().entries(names).finish()
    }
}

impl Plan {
    /// The plan of `bundle` on the host that `facts` describe.
    pub(crate) fn new(bundle: &Bundle, facts: &Facts, policy: Policy) -> Result<Self> {
        let namespaces = Namespaces::of(bundle, facts);
        let files = mounts::state_files(bundle, facts);
        let mut mounts = mounts::file_systems(bundle, facts, &policy)?;
        if let Some(size) = bundle.limits.shm_size {
            resources::set_shm_size(&mut mounts, size)?;
        }
        devices::make_room(&mut mounts, facts)?;
        let (covered, trusted) = (policy.covered, policy.trusted);
        let process = ProcessPlan::new(&bundle.process, bundle, facts, policy)?;
        Ok(Self {
            directories: root::directories(&bundle.root, &bundle.state_dir),
            cgroups: cgroup::directories(
                &bundle.id,
                &bundle.limits,
                facts.cgroups.as_ref(),
                &facts.devices,
                facts.permitted.as_ref(),
            ),
            namespaces,
            id_maps: identity::maps(facts.ids, &facts.own_ids),
            unshared: match facts.uptime {
                Some(_) => Namespaces::CGROUP.and(Namespaces::TIME),
                None => Namespaces::CGROUP,
            },
            clocks: facts.uptime.map(clocks),
            root: RootPlan::new(
                &bundle.root,
                &bundle.state_dir,
                facts.ids,
                process.no_new_privileges,
                trusted,
            )?,
            sysctls: resources::sysctls(bundle)?,
            mounts,
            devices: devices::nodes(facts)?,
            links: devices::links()?,
            masked: mounts::kernel_mounts(covered.masked, facts)?,
            read_only: mounts::kernel_mounts(covered.read_only, facts)?,
            late_mounts: mounts::late(bundle, facts, trusted, &files)?,
            files,
            hostname: bundle.hostname.clone(),
            loopback: namespaces.contains(Namespaces::NETWORK),
            process: ProcessPlan {
                init: facts.arguments.clone().filter(|_| bundle.init),
                ..process
            },
        })
    }
}

impl ProcessPlan {
    /// The plan of `process` in the container of `bundle`.
    pub(crate) fn new(
        process: &Process,
        bundle: &Bundle,
        facts: &Facts,
        policy: Policy,
    ) -> Result<Self> {
        Ok(Self {
            program: Program::new(process)?,
            working_directory: relative(if process.cwd.is_empty() { "/" } else { &process.cwd })?,
            identity: Identity::new(process.user.as_ref(), facts.ids, &policy),
            landlock: Landlock::new(bundle, facts)?,
            filter: policy.filter,
            filter_last: false,
            no_new_privileges: policy.no_new_privileges,
            umask: UMASK,
            first_closed: 3,
            apparmor: apparmor(bundle, facts),
            selinux: None,
            limits: resources::process_limits(&bundle.limits, facts),
            init: None,
            priorities: Priorities::default(),
            personality: None,
            oom_score_adj: bundle.limits.oom_score_adj.map(|score| score.to_string()),
        })
    }

    /// Whether the filter takes a capability. It takes one of these: that no program gains
    /// privileges, or that this one has them (seccomp(2)).
    pub(crate) const fn privileged_filter(&self) -> bool {
        !self.no_new_privileges && self.filter.is_some()
    }

    /// Whether a program outside answers some of its calls.
    pub(crate) fn listens(&self) -> bool {
        self.filter.as_ref().is_some_and(Filter::listens)
    }
}

/// Where the kernel has no AppArmor, nothing is confined by it.
fn apparmor(bundle: &Bundle, facts: &Facts) -> Option<String> {
    let profile = match bundle.security.apparmor.as_ref()? {
        AppArmor::Unconfined => "unconfined",
        AppArmor::Profile(name) => name,
    };
    facts.apparmor.then(|| format!("exec {profile}"))
}

/// What starts a container's clocks from nothing: how long the machine has been up tells it from
/// others (`time_namespaces(7)`).
fn clocks(uptime: Uptime) -> String {
    format!("monotonic -{} 0\nboottime -{} 0\n", uptime.monotonic, uptime.boottime)
}

/// A C string of `text`.
pub(crate) fn c_string(text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text).map_err(|source| Error::Step {
        step: "pass text that holds a NUL byte to the kernel".to_owned(),
        source: Box::new(source),
    })
}

/// A guest's absolute path as one below its root, which is `.` itself.
pub(crate) fn relative(path: &str) -> Result<CString> {
    match path.trim_matches('/') {
        "" => c_string("."),
        path => c_string(path),
    }
}

#[cfg(test)]
mod tests;
