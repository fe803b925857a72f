//! From a failed step to a sentence, and to what the user could do about it.

use std::io;

use rustix::io::Errno;
use silo_isolation::Error;

use crate::{
    facts::{Facts, IdSource},
    plan::{KernelMount, MountPlan, Plan, Source},
    protocol::{Broken, Failure, Step},
};

const USER_NAMESPACES: &str = "allow unprivileged user namespaces, as root: \
     `sysctl kernel.unprivileged_userns_clone=1` (Debian before 11), \
     `sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu), \
     `sysctl user.max_user_namespaces=15000` where it is 0";
const ROOT_IN_CONTAINER: &str = "this root lacks CAP_SYS_ADMIN: it may itself be in a \
     container; run silo outside of it, or give it that capability";
const HIDDEN_PROC: &str = "where silo itself runs in a container, parts of /proc and /sys \
     are covered, and the kernel gives no uncovered ones; run silo outside of it, or without \
     its masked paths (`--security-opt systempaths=unconfined`)";
const UNMAPPED: &str = "a container of root's has user ids of its own, for which the kernel maps \
     those of files: that takes Linux 5.19, and a store on ext4, xfs, btrfs or tmpfs; with \
     `--userns host` it goes without, and root inside is root outside";
const RAISE: &str = "to raise a hard limit, and to lower the score, takes CAP_SYS_RESOURCE on the host; \
     ask for less, or run silo with that capability";
const PROFILE: &str = "the kernel must have loaded a profile of that name \
     (`apparmor_parser --add FILE`, `aa-status`), and what confines silo itself must permit it";
const OVERLAY: &str = "overlayfs in a user namespace takes Linux 5.11 and a store on \
     a file system with user.* extended attributes, which is not itself overlayfs";

/// An error that says which step failed, by `errno`.
pub(crate) fn step(step: impl Into<String>) -> impl FnOnce(Errno) -> Error {
    let step = step.into();
    move |errno| Error::Step { step, source: Box::new(io::Error::from(errno)) }
}

/// The child ended without saying why: something killed it.
pub(crate) fn silent() -> Error {
    Error::Step {
        step: "set up the container".to_owned(),
        source: "its process was killed, perhaps for lack of memory: is its limit too low?".into(),
    }
}

/// Why no process could be cloned.
pub(crate) fn clone_failure(errno: Errno, ids: IdSource) -> Error {
    let rootless = ids.is_rootless();
    let what = if rootless { "make a user namespace" } else { "make namespaces" };
    let hint = match errno {
        Errno::PERM | Errno::ACCESS | Errno::USERS if rootless => USER_NAMESPACES,
        Errno::PERM => ROOT_IN_CONTAINER,
        Errno::NOSPC | Errno::USERS => {
            "too many namespaces: raise `sysctl user.max_user_namespaces`, and its siblings for \
             mnt, pid, ipc, uts, net and cgroup"
        }
        Errno::AGAIN => {
            return step(
                "clone a process: there are as many as the limits (ulimit -u, \
                         the pids cgroup) allow",
            )(errno);
        }
        _ => return step(what)(errno),
    };
    not_permitted(what, hint, errno)
}

fn not_permitted(what: impl Into<String>, hint: &str, errno: Errno) -> Error {
    Error::NotPermitted { what: what.into(), hint: hint.to_owned(), source: io::Error::from(errno) }
}

/// Why the program did not run.
pub(crate) fn program(name: &str, path: Option<&str>, failure: Failure) -> Error {
    let not_runnable =
        |reason: String| Error::ProgramNotRunnable { program: name.to_owned(), reason };
    match (failure.step, failure.errno) {
        (Step::Interpret, _) => {
            not_runnable("the interpreter or loader that it names is not in the image".to_owned())
        }
        (Step::Execute, Errno::NOENT | Errno::NOTDIR) => {
            Error::ProgramNotFound { program: name.to_owned(), path: path.map(ToOwned::to_owned) }
        }
        (Step::Execute, Errno::ISDIR) => not_runnable("it is a directory".to_owned()),
        (Step::Execute, Errno::ACCESS) => {
            not_runnable("it is not executable by this user (permission denied)".to_owned())
        }
        (Step::Execute, Errno::NOEXEC) => not_runnable(
            "it is no program for this machine, nor a script with a #! line".to_owned(),
        ),
        (_, errno) => not_runnable(io::Error::from(errno).to_string()),
    }
}

/// A step as a verb and its object, without what of a plan it is about.
pub(crate) const fn general(step: Step) -> &'static str {
    match step {
        Step::JoinCgroup => "move into the container's cgroup",
        Step::JoinNamespaces => "enter the container's namespaces",
        Step::JoinKeyring => "make a session keyring",
        Step::CloneInside => "clone a process inside the container",
        Step::MapIds => "map user and group ids into the user namespace",
        Step::Unshare => "make a cgroup and a time namespace",
        Step::SetClocks => "set the clocks of the time namespace",
        Step::SetOomScore => "set how soon it is killed for want of memory",
        Step::SetSysctl => "set a kernel setting",
        Step::SetPriority => "set how it is scheduled",
        Step::SetLimit => "set a resource limit",
        Step::PrivateMounts => "make the mounts private to the container",
        Step::EnterStore => "enter the store",
        Step::OpenOverlay => "use overlayfs",
        Step::SetOverlay => "set the options of overlayfs",
        Step::AddLayer => "add a layer to the root file system",
        Step::MountOverlay => "mount the root file system (overlayfs)",
        Step::AttachRoot => "attach the root file system",
        Step::OpenMount | Step::SetMount => "make a file system",
        Step::MapMountIds => "map the ids of a mount's files",
        Step::CopyUp => "copy files into a new file system",
        Step::FindTarget => "find or make a place to mount on",
        Step::AttachMount => "attach a mount",
        Step::MakeDevice => "make the device nodes in /dev",
        Step::MakeLink => "make the links in /dev",
        Step::Mask => "mask a path",
        Step::ReadOnly => "make a path read-only",
        Step::OpenTerminal => "open a terminal in the container",
        Step::ReadOnlyRoot => "make the root file system read-only",
        Step::RunHook => "run a hook",
        Step::ChangeRoot => "change to the container's root",
        Step::SetPropagation => "set the propagation of the root's mounts",
        Step::SetHostname => "set the host name",
        Step::SetDomainName => "set the domain name",
        Step::RaiseLoopback => "bring the loopback interface up",
        Step::SetPersonality => "set the execution domain",
        Step::ConnectStreams => "connect the standard streams",
        Step::NewSession => "start a session",
        Step::WorkingDirectory => "make or enter the working directory",
        Step::DropBounding | Step::SetCapabilities => "drop capabilities",
        Step::SetGroups | Step::SetGroup => "set the groups",
        Step::SetUser => "set the user",
        Step::AppArmor => "confine the program by its profile of AppArmor",
        Step::DieWithParent => "tie the container to its supervisor",
        Step::NoNewPrivileges => "give up new privileges",
        Step::Landlock => "restrict files by Landlock",
        Step::SetMemoryPolicy => "set the memory policy, whose nodes must be those of the cgroup",
        Step::Selinux => "have the program confined by its label of SELinux",
        Step::InstallFilter => "install the seccomp filter",
        Step::CloseDescriptors => "close the engine's file descriptors",
        Step::Report => "report that the container is ready",
        Step::BecomeInit => "become the container's init process",
        Step::Execute | Step::Interpret => "execute the program",
    }
}

/// What is needed to explain a failure.
pub(crate) struct Explain<'a> {
    /// The sandbox's plan; a process that joins has none.
    pub(crate) plan: Option<&'a Plan>,
    pub(crate) facts: &'a Facts,
}

impl Explain<'_> {
    pub(crate) fn broken(&self, broken: Broken) -> Error {
        match broken {
            Broken::Failed(failure) => self.failure(failure),
            Broken::Silent => silent(),
            Broken::Socket(errno) => step("hear from the container's process")(errno),
        }
    }

    fn failure(&self, failure: Failure) -> Error {
        let what = self.sentence(failure);
        match self.hint(failure) {
            Some(hint) => not_permitted(what, hint, failure.errno),
            None => step(what)(failure.errno),
        }
    }

    fn hint(&self, failure: Failure) -> Option<&'static str> {
        if failure.step == Step::AppArmor {
            return Some(PROFILE);
        }
        if failure.errno == Errno::INVAL {
            return self.cannot_map(failure).then_some(UNMAPPED);
        }
        if !matches!(failure.errno, Errno::PERM | Errno::ACCESS) {
            return None;
        }
        let rootless = self.facts.ids.is_rootless();
        match failure.step {
            Step::MapIds | Step::Unshare | Step::PrivateMounts if rootless => Some(USER_NAMESPACES),
            Step::OpenOverlay | Step::MountOverlay | Step::AddLayer if rootless => Some(OVERLAY),
            Step::OpenMount if self.is_kernels(failure.index) => Some(HIDDEN_PROC),
            Step::PrivateMounts | Step::OpenOverlay | Step::MountOverlay => Some(ROOT_IN_CONTAINER),
            Step::SetLimit | Step::SetOomScore => Some(RAISE),
            _ => None,
        }
    }

    /// Whether it was tried to map the ids of the store's files.
    fn cannot_map(&self, failure: Failure) -> bool {
        matches!(self.facts.ids, IdSource::Range { .. })
            && matches!(
                failure.step,
                Step::EnterStore | Step::AddLayer | Step::SetOverlay | Step::MountOverlay
            )
    }

    /// Whether a mount is of /proc or /sys.
    fn is_kernels(&self, index: usize) -> bool {
        self.mount(index).is_some_and(|mount| {
            matches!(&mount.source, Source::New { kind, .. }
                if kind.as_c_str() == c"proc" || kind.as_c_str() == c"sysfs")
        })
    }

    fn mount(&self, index: usize) -> Option<&MountPlan> {
        self.plan.and_then(|plan| plan.mounts.iter().chain(&plan.late_mounts).nth(index))
    }

    /// The step as a verb and its object, with the path it is about.
    fn sentence(&self, failure: Failure) -> String {
        let index = failure.index;
        let target = || {
            self.mount(index).map_or_else(String::new, |mount| {
                let directory = match mount.anchor {
                    crate::plan::Anchor::Root => "",
                    crate::plan::Anchor::Dev => "dev/",
                    crate::plan::Anchor::Proc => "proc/",
                    crate::plan::Anchor::Sys | crate::plan::Anchor::Sysfs => "sys/",
                };
                format!("/{directory}{}", mount.target.to_string_lossy())
            })
        };
        let kernel = |paths: fn(&Plan) -> &Vec<KernelMount>| {
            let path = self.plan.and_then(|plan| paths(plan).get(index));
            path.map_or_else(String::new, |path| path.path.to_string_lossy().into_owned())
        };
        match failure.step {
            Step::SetSysctl => format!("set {}", self.sysctl(index)),
            Step::SetLimit => format!("set the limit {}", self.limit(index)),
            Step::EnterStore => format!("enter {}", self.store()),
            Step::AddLayer => {
                format!("add the layer {} to the root file system", self.layer(index))
            }
            Step::OpenMount | Step::SetMount => {
                match self.mount(index).map(|mount| &mount.source) {
                    Some(Source::Tree { path }) => {
                        format!("take {} to mount it at {}", path.to_string_lossy(), target())
                    }
                    _ => format!("make the file system for {}", target()),
                }
            }
            Step::FindTarget => format!("find or make {} to mount on", target()),
            Step::AttachMount => format!("mount {}", target()),
            Step::MakeDevice => format!("make /dev/{}", self.device(index)),
            Step::Mask => format!("mask {} of /proc or /sys", kernel(|plan| &plan.masked)),
            Step::ReadOnly => {
                format!("make {} of /proc read-only", kernel(|plan| &plan.read_only))
            }
            step => general(step).to_owned(),
        }
    }

    fn device(&self, index: usize) -> String {
        let device = self.plan.and_then(|plan| plan.devices.get(index));
        device.map_or_else(String::new, |device| device.name.to_string_lossy().into_owned())
    }

    fn sysctl(&self, index: usize) -> String {
        let sysctl = self.plan.and_then(|plan| plan.sysctls.get(index));
        sysctl.map_or_else(String::new, |sysctl| sysctl.file.to_string_lossy().into_owned())
    }

    fn limit(&self, index: usize) -> &str {
        let limit = self.plan.and_then(|plan| plan.process.limits.get(index));
        limit.map_or("of a process", |limit| limit.name)
    }

    fn store(&self) -> String {
        let base = self.plan.map(|plan| plan.root.base.to_string_lossy().into_owned());
        base.unwrap_or_default()
    }

    fn layer(&self, index: usize) -> String {
        let lower = self.plan.and_then(|plan| plan.root.lowers.get(index));
        lower.map_or_else(String::new, |lower| {
            format!("{}/{}", self.store(), lower.to_string_lossy())
        })
    }
}
