//! What a guest may do and see, as tables: by isolation, and by what its options ask for beyond.
//!
//! Everything here is plain data. [`defaults`] gives an isolation's whole, so that the
//! documentation can be generated from what is enforced.

mod capabilities;
mod docker;
mod paths;
mod rlimits;
mod strict;
mod syscalls;

use serde::Serialize;
use silo_isolation::{Error, Isolation, Refusal, Result, Seccomp, Security, Users};
use silo_layers::tree::is_privileged;

pub(crate) use capabilities::Set as Capabilities;
pub(crate) use paths::{
    DEVICES, FileSystem, KernelPath, LINKS, Option as MountOption, SYSFS_PARTS,
};
use paths::{
    DOCKERS_MASKED_PATHS, DOCKERS_READ_ONLY_PATHS, FILE_SYSTEMS, MASKED_PATHS, READ_ONLY_PATHS,
};
pub(crate) use rlimits::RLIMITS;
pub(crate) use syscalls::{Condition, FIRST_UNKNOWN, SYSCALLS, Verdict};

use crate::{
    devices::RULES,
    seccomp::{self, Filter},
};

/// What holds for one container.
pub(crate) struct Policy {
    /// Of user 0, and the bounding set of everyone.
    pub(crate) capabilities: Capabilities,
    /// `None` where all calls are permitted.
    pub(crate) filter: Option<Filter>,
    pub(crate) no_new_privileges: bool,
    pub(crate) file_systems: Vec<&'static FileSystem>,
    pub(crate) covered: Covered,
    /// Whether the kernel's file systems can be changed.
    pub(crate) writable_system: bool,
    /// Whether devices open, and set-user-id programs work, wherever they are: with all privileges over
    /// the host there is nothing to keep from the guest.
    pub(crate) trusted: bool,
}

/// Paths of the kernel's file systems that are covered.
#[derive(Clone, Copy)]
pub(crate) struct Covered {
    /// By emptiness.
    pub(crate) masked: &'static [KernelPath],
    /// By themselves, read-only.
    pub(crate) read_only: &'static [KernelPath],
}

impl Covered {
    const NONE: Self = Self { masked: &[], read_only: &[] };

    /// In `strict` there is nothing of the kernel's but processes.
    const fn by(isolation: Isolation) -> Self {
        match isolation {
            Isolation::Default => Self { masked: MASKED_PATHS, read_only: READ_ONLY_PATHS },
            Isolation::Docker => {
                Self { masked: DOCKERS_MASKED_PATHS, read_only: DOCKERS_READ_ONLY_PATHS }
            }
            Isolation::Strict => Self::NONE,
        }
    }
}

impl Policy {
    /// What `security`, of which nothing is refused, comes to.
    pub(crate) fn of(security: &Security) -> Result<Self> {
        let isolation = security.isolation;
        let unusable = |refusal: Refusal| Error::Unsupported {
            what: format!("cannot have {}: {}", refusal.what, refusal.why),
        };
        let capabilities = capabilities(security).map_err(unusable)?;
        let filter = match &security.seccomp {
            Seccomp::Isolation if security.privileged => None,
            Seccomp::Isolation => Some(seccomp::filter(&calls(isolation, capabilities))),
            Seccomp::Unconfined => None,
            Seccomp::Profile(text) => Some(profile(text, capabilities).map_err(unusable)?),
        };
        let open = security.open_system_paths || security.privileged;
        let covered = if open { Covered::NONE } else { Covered::by(isolation) };
        Ok(Self {
            capabilities,
            filter,
            no_new_privileges: no_new_privileges(security),
            // Docker's show the most.
            file_systems: file_systems(if security.privileged {
                Isolation::Docker
            } else {
                isolation
            }),
            covered,
            writable_system: security.privileged,
            trusted: security.privileged && users(security) == Users::Host,
        })
    }
}

/// All of `security` that cannot be.
pub(crate) fn refusals(security: &Security) -> Vec<Refusal> {
    let (capabilities, mut refusals) = match capabilities(security) {
        Ok(capabilities) => (capabilities, Vec::new()),
        Err(refusal) => (Capabilities::default(), vec![refusal]),
    };
    if security.privileged && security.isolation == Isolation::Strict {
        let why = "the isolation `strict` gives no privilege";
        refusals.push(Refusal::new("--privileged", why));
    }
    if let Seccomp::Profile(text) = &security.seccomp {
        refusals.extend(profile(text, capabilities).err());
    }
    refusals
}

fn capabilities(security: &Security) -> Result<Capabilities, Refusal> {
    Capabilities::asked(security).map_err(|unknown| Refusal {
        what: format!("the capability {}", unknown.join(", ")),
        why: "the kernel has none of that name".to_owned(),
    })
}

fn profile(text: &str, capabilities: Capabilities) -> Result<Filter, Refusal> {
    seccomp::profile(text, capabilities)
        .map_err(|why| Refusal { what: "the seccomp profile".to_owned(), why })
}

/// Whose users a container's are. Docker's are the host's, where it may do that, and privileges are those
/// over the host.
pub(crate) fn users(security: &Security) -> Users {
    let asks = security.isolation == Isolation::Docker || security.privileged;
    security.users.unwrap_or(if asks && is_privileged() { Users::Host } else { Users::Own })
}

fn no_new_privileges(security: &Security) -> bool {
    let gains = security.isolation == Isolation::Docker || security.privileged;
    security.no_new_privileges.unwrap_or(!gains)
}

fn file_systems(isolation: Isolation) -> Vec<&'static FileSystem> {
    FILE_SYSTEMS.iter().filter(|fs| fs.isolations.contains(&isolation)).collect()
}

/// System calls that are not refused, in ascending order of their numbers.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) native: Vec<(u32, Verdict)>,
    /// Those of 32-bit programs; without, such programs are ended.
    pub(crate) compatible: Option<Vec<(u32, Verdict)>>,
}

fn calls(isolation: Isolation, capabilities: Capabilities) -> Calls {
    if isolation == Isolation::Docker {
        return Calls {
            native: docker::native(capabilities),
            #[cfg(target_arch = "x86_64")]
            compatible: Some(docker::compatible(capabilities)),
            #[cfg(not(target_arch = "x86_64"))]
            compatible: None,
        };
    }
    let strict = isolation == Isolation::Strict;
    let table =
        SYSCALLS.iter().filter(|call| !strict || strict::STRICT.binary_search(&call.name).is_ok());
    let mut native: Vec<_> = table.map(|call| (call.number, verdict(call, strict))).collect();
    native.sort_unstable_by_key(|&(number, _)| number);
    let added = capabilities.without(Capabilities::given_by(isolation));
    // Names take long to look up, and containers seldom have more than they are given.
    if added != Capabilities::default() {
        let unlocked = docker::UNLOCKED.iter().filter(|(capability, _)| added.has(capability));
        let names = unlocked.flat_map(|(_, names)| *names);
        names.filter_map(|name| docker::number(name)).for_each(|call| unlock(&mut native, call));
    }
    Calls { native, compatible: None }
}

fn verdict(call: &syscalls::Syscall, strict: bool) -> Verdict {
    match call.verdict {
        Verdict::If(Condition::OrdinarySocket) if strict => Verdict::If(Condition::UnixSocket),
        verdict => verdict,
    }
}

fn unlock(native: &mut Vec<(u32, Verdict)>, number: u32) {
    match native.binary_search_by_key(&number, |&(number, _)| number) {
        Ok(at) => native[at].1 = Verdict::Allow,
        Err(at) => native.insert(at, (number, Verdict::Allow)),
    }
}

/// Everything that holds for a container unless its options say otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Defaults {
    /// Whether users are the container's own, where root runs it.
    pub user_namespace: bool,
    /// Capabilities of user 0, and the bounding set of everyone.
    pub capabilities: Vec<&'static str>,
    /// System calls that are permitted; all others fail with EPERM, those newer than the
    /// table with ENOSYS, and those of another ABI (i386, x32) end the program.
    pub syscalls: Vec<Syscall>,
    /// How many calls of 32-bit programs are permitted; such programs are ended where none is.
    pub compatible_syscalls: usize,
    /// Paths that read as empty.
    pub masked_paths: Vec<&'static str>,
    /// Paths that can be read and not written.
    pub readonly_paths: Vec<&'static str>,
    /// Device nodes in /dev.
    pub devices: Vec<&'static str>,
    /// Devices that may be used where rules about them hold, as lines of `devices.allow`
    /// (cgroup-v1/devices.rst).
    pub device_rules: Vec<String>,
    /// What is mounted over the image.
    pub mounts: Vec<Mounted>,
    /// What of sysfs is shown, where not all or nothing is.
    pub sysfs_parts: Vec<&'static str>,
    /// Resource limits (setrlimit(2)) that are set, as `NAME=SOFT:HARD`; none is above the engine's
    /// own, and the others are those.
    pub rlimits: Vec<String>,
    /// Bits that are taken from the modes of new files.
    pub umask: u32,
    /// Whether the root file system cannot be changed.
    pub read_only_root: bool,
    /// Whether programs may gain no privileges by execve(2): set-user-id bits, file capabilities.
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

/// What holds in an isolation on this build's architecture, for a container that root runs.
#[must_use]
pub fn defaults(isolation: Isolation) -> Defaults {
    let capabilities = Capabilities::given_by(isolation);
    let calls = calls(isolation, capabilities);
    let covered = Covered::by(isolation);
    let full = |paths: &'static [KernelPath]| paths.iter().map(|path| path.full).collect();
    let permitted = |rows: &[(u32, Verdict)]| rows.iter().filter(|row| row.1.permits()).count();
    Defaults {
        user_namespace: isolation != Isolation::Docker,
        capabilities: capabilities.names(),
        syscalls: permitted_calls(&calls.native),
        compatible_syscalls: calls.compatible.as_deref().map_or(0, permitted),
        masked_paths: full(covered.masked),
        readonly_paths: full(covered.read_only),
        devices: DEVICES.to_vec(),
        device_rules: RULES.iter().filter(|rule| rule.allow).map(ToString::to_string).collect(),
        mounts: file_systems(isolation).into_iter().map(FileSystem::describe).collect(),
        sysfs_parts: match isolation {
            Isolation::Default => SYSFS_PARTS.to_vec(),
            Isolation::Docker | Isolation::Strict => Vec::new(),
        },
        rlimits: RLIMITS.iter().map(ToString::to_string).collect(),
        umask: UMASK,
        read_only_root: isolation == Isolation::Strict,
        no_new_privs: isolation != Isolation::Docker,
    }
}

fn permitted_calls(rows: &[(u32, Verdict)]) -> Vec<Syscall> {
    let mut calls: Vec<_> = rows
        .iter()
        .filter(|(_, verdict)| verdict.permits())
        .filter_map(|&(number, verdict)| {
            let name = syscalls_name(number)?;
            Some(Syscall { name, only: verdict.summary() })
        })
        .collect();
    calls.sort_unstable_by_key(|call| call.name);
    calls
}

fn syscalls_name(number: u32) -> Option<&'static str> {
    let known = SYSCALLS.iter().find(|call| call.number == number).map(|call| call.name);
    known.or_else(|| docker::name(number))
}

/// Bits taken from the modes of new files.
pub(crate) const UMASK: u32 = 0o022;

#[cfg(test)]
mod tests {
    use super::*;

    fn permitted(isolation: Isolation) -> Vec<&'static str> {
        defaults(isolation).syscalls.iter().map(|call| call.name).collect()
    }

    #[test]
    fn the_isolations_are_no_wider_than_promised() {
        let [docker, default, strict] = Isolation::ALL.map(defaults);
        assert!(default.capabilities.len() <= 11, "{}", default.capabilities.len());
        assert!(default.syscalls.len() <= 215, "{}", default.syscalls.len());
        assert!(strict.capabilities.is_empty());
        assert!(strict.syscalls.len() <= 120, "{}", strict.syscalls.len());
        assert_eq!(docker.capabilities.len(), 14);
        assert!(docker.syscalls.len() <= 310, "{}", docker.syscalls.len());
        for stronger in [default, strict] {
            assert!(stronger.no_new_privs && stronger.compatible_syscalls == 0);
        }
    }

    #[test]
    fn each_isolation_permits_what_the_stronger_one_does() {
        let [docker, default, strict] = Isolation::ALL.map(permitted);
        assert!(strict.iter().all(|name| default.contains(name)));
        let missing: Vec<_> = default.iter().filter(|name| !docker.contains(name)).collect();
        // Docker leaves that to who has CAP_SYS_ADMIN; here it makes no namespace.
        assert_eq!(missing, [&"unshare"]);
    }

    #[test]
    fn strict_is_a_sorted_part_of_the_default_table() {
        assert!(strict::STRICT.is_sorted());
        for name in strict::STRICT {
            assert!(SYSCALLS.iter().any(|call| call.name == *name), "{name}");
        }
    }

    #[test]
    fn a_capability_unlocks_the_calls_that_it_is_for() {
        let security = Security {
            add_capabilities: vec!["SYS_PTRACE".to_owned(), "SYS_TIME".to_owned()],
            ..Security::default()
        };
        let capabilities = Capabilities::asked(&security).unwrap();
        let calls = permitted_calls(&calls(Isolation::Default, capabilities).native);
        let has = |name: &str| calls.iter().any(|call| call.name == name);
        assert!(has("ptrace") && has("clock_settime") && !has("mount"));
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
