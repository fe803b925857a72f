//! The backend: what it admits, and how a sandbox is made.

use std::{
    fs::{self, File},
    io::{PipeReader, PipeWriter},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::fs::{FileType, Uid};
use silo_isolation::{
    AppArmor, Barrier, Bundle, Error, Isolation, IsolationBackend, MountKind, Network, Refusal,
    Result, Sandbox, Security, Stdio, TerminalSize, Users,
};
use silo_layers::{Platform, tree::is_privileged};

use crate::{
    cgroup::{self, Cgroup},
    child::{First, Streams},
    devices, explain,
    facts::{Facts, IdSource, has_apparmor},
    guest::Guest,
    outside,
    plan::{Plan, ProcessPlan, StateFile, is_root},
    policy::{self, Policy},
    protocol,
    record::{self, Record},
    resources,
    rootless::{OwnIds, hands_ids_on, outer_ids},
    sandbox::LinuxSandbox,
    sys::{self, Where},
    terminal::Pty,
};

/// The isolation backend of Linux.
///
/// By default a guest has [`defaults`](crate::defaults) and nothing else: the capabilities,
/// system calls, devices and file systems listed there, and namespaces of its own of all eight
/// kinds. In that of users, 0 to 65,535 are a range that is nobody else's; where this process
/// is not root of the machine, only 0, which is this process's user.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinuxBackend;

impl LinuxBackend {
    /// The backend of this host. Touches nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl IsolationBackend for LinuxBackend {
    fn name(&self) -> &'static str {
        "linux"
    }

    fn platforms(&self) -> Vec<Platform> {
        vec![Platform::linux()]
    }

    fn barriers(&self) -> Vec<Barrier> {
        barriers()
    }

    fn admit(&self, bundle: &Bundle) -> Vec<Refusal> {
        admit(bundle, is_privileged())
    }

    fn create(&self, bundle: &Bundle, stdio: Stdio) -> Result<Box<dyn Sandbox>> {
        let facts = Facts::gather(bundle)?;
        let plan = Plan::new(bundle, &facts, Policy::of(&bundle.security)?)?;
        write_state(&plan)?;
        let record = Record::create(
            &bundle.state_dir,
            plan.cgroups.iter().map(|directory| directory.path.as_path()),
        )?;
        let made = make(&plan, &facts, stdio, record);
        match made {
            Ok((guest, cgroup)) => {
                let namespaces = plan.namespaces.and(plan.unshared);
                Ok(Box::new(LinuxSandbox::new(guest, cgroup, bundle, facts, namespaces)))
            }
            Err(error) => {
                record::forget(&bundle.state_dir)?;
                Err(error)
            }
        }
    }

    fn reclaim(&self, _id: &str, state_dir: &Path) -> Result<()> {
        record::reclaim(state_dir)
    }
}

/// Writes what the container finds in its /etc.
fn write_state(plan: &Plan) -> Result<()> {
    for path in &plan.directories {
        fs::create_dir_all(path).map_err(Error::file("make", path))?;
    }
    for StateFile { path, content } in &plan.files {
        fs::write(path, content).map_err(Error::file("write", path))?;
    }
    Ok(())
}

/// Makes the cgroups and the process. What was made goes with them when a step fails.
fn make(plan: &Plan, facts: &Facts, stdio: Stdio, mut record: Record) -> Result<(Guest, Cgroup)> {
    let cgroup = Cgroup::create(&plan.cgroups)?;
    let (tasks, unified) = (cgroup.tasks()?, cgroup.unified()?);
    let ends = GuestEnds::new(stdio)?;
    ends.give_to(plan.process.identity.user, facts.ids);
    let (setup, end) = protocol::connect().map_err(explain::step("connect to the container"))?;
    let place = Where::Child {
        namespaces: plan.namespaces.0,
        cgroup: unified.as_ref().map(|directory| directory.as_fd()),
    };
    let processes = open_processes(&plan.process)?;
    let first = First {
        plan,
        streams: ends.streams(),
        cgroups: &tasks,
        processes: processes.as_ref().map(|directory| directory.as_fd()),
        end: &end,
        parents_end: &setup,
    };
    let cloned = sys::clone(place, || first.run())
        .map_err(|errno| explain::clone_failure(errno, facts.ids))?;
    drop(end);
    drop(ends);
    let pid = cloned.pid;
    let guest =
        Guest::new(cloned, plan.process.program.name.clone(), plan.process.program.path.clone());
    record.process(pid)?;
    match outside::help(plan, pid, &setup).and_then(|()| setup.ready()) {
        Ok((waiting, master)) => Ok((guest.waiting(waiting, master.map(Pty::new)), cgroup)),
        Err(broken) => {
            // It has to be gone before its cgroup can be.
            drop(guest);
            Err(explain::Explain { plan: Some(plan), facts }.broken(broken))
        }
    }
}

/// The host's /proc, where the process has something to write about itself: the container's own may be
/// covered by whatever the guest likes.
pub(crate) fn open_processes(plan: &ProcessPlan) -> Result<Option<OwnedFd>> {
    let open = |path| File::open(path).map(OwnedFd::from).map_err(Error::file("open", path));
    plan.apparmor.as_ref().or(plan.selinux.as_ref()).map(|_| open("/proc")).transpose()
}

/// The guest's ends of its streams, as long as the parent holds them.
pub(crate) enum GuestEnds {
    Pipes { stdin: OwnedFd, stdout: PipeWriter, stderr: PipeWriter },
    Terminal(TerminalSize),
}

impl GuestEnds {
    pub(crate) fn new(stdio: Stdio) -> Result<Self> {
        Ok(match stdio {
            Stdio::Pipes { stdin, stdout, stderr } => {
                Self::Pipes { stdin: stdin.map_or_else(empty_input, from_pipe)?, stdout, stderr }
            }
            Stdio::Terminal(size) => Self::Terminal(size),
        })
    }

    /// Makes pipes the program's own, as it runs as `user` of `ids`: it can else not open them by their
    /// names, /dev/stdout and its like.
    pub(crate) fn give_to(&self, user: Uid, ids: IdSource) {
        let Self::Pipes { stdin, stdout, stderr } = self else { return };
        let owner = ids.outside(user.as_raw());
        for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
            give_stream(stream, owner);
        }
    }

    pub(crate) fn streams(&self) -> Streams<'_> {
        match self {
            Self::Pipes { stdin, stdout, stderr } => Streams::Pipes {
                stdin: stdin.as_fd(),
                stdout: stdout.as_fd(),
                stderr: stderr.as_fd(),
            },
            Self::Terminal(size) => Streams::Terminal(*size),
        }
    }
}

/// Gives a stream of a guest's to `owner`, but what belongs to everyone. Where it cannot be given,
/// the program reads and writes it all the same.
pub(crate) fn give_stream(stream: BorrowedFd<'_>, owner: u32) {
    let Ok(stat) = rustix::fs::fstat(stream) else { return };
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    let is_terminal = rustix::termios::isatty(stream);
    if stat.st_uid != owner && (!is_device || is_terminal) {
        let _ = rustix::fs::fchown(stream, Some(Uid::from_raw(owner)), None);
    }
}

fn empty_input() -> Result<OwnedFd> {
    File::open("/dev/null").map(OwnedFd::from).map_err(Error::file("open", "/dev/null"))
}

#[allow(clippy::unnecessary_wraps)] // the other way to get an input may fail
fn from_pipe(pipe: PipeReader) -> Result<OwnedFd> {
    Ok(pipe.into())
}

/// All that cannot be honoured.
fn admit(bundle: &Bundle, privileged: bool) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if !bundle.platform.satisfies(&Platform::linux()) {
        let why = format!("this machine runs {}", Platform::linux());
        refusals.push(Refusal::new(format!("the platform {}", bundle.platform), why));
    }
    refusals.extend(policy::refusals(&bundle.security));
    refusals.extend(admit_apparmor(&bundle.security));
    if bundle.security.isolation == Isolation::Strict && bundle.network != Network::None {
        refusals.push(Refusal::new("--network", "the isolation `strict` has none"));
    }
    refusals.extend(admit_network(bundle));
    refusals.extend(admit_users(bundle, privileged));
    for mount in &bundle.mounts {
        if is_root(&mount.destination) {
            refusals.push(Refusal::new("a mount on /", "the image is mounted there"));
        }
        if let MountKind::Bind { source } = &mount.kind
            && !source.is_absolute()
        {
            let what = format!("the mount of {}", source.display());
            refusals.push(Refusal::new(what, "its path is not absolute"));
        }
    }
    refusals.extend(cgroup::refusals(&bundle.limits));
    refusals.extend(admit_devices(&bundle.security, privileged));
    refusals.extend(resources::refusals(bundle, privileged));
    refusals
}

/// What is for WebAssembly programs only.
fn admit_network(bundle: &Bundle) -> Vec<Refusal> {
    const NO_PORTS: &str = "silo does not publish ports of Linux programs yet; with `--network host` the \
        program listens on the host's";
    const NO_LIST: &str = "Linux programs make their own system calls, which silo does not hold to a list of \
        peers; WebAssembly programs it does";
    [
        (!bundle.access.published.is_empty(), "-p", NO_PORTS),
        (!bundle.access.allowed.is_empty(), "--allow-net", NO_LIST),
        (!bundle.components.is_empty(), "--plug", "it is for WebAssembly components"),
    ]
    .into_iter()
    .filter(|(is_asked, ..)| *is_asked)
    .map(|(_, what, why)| Refusal::new(what, why))
    .collect()
}

fn admit_devices(security: &Security, privileged: bool) -> Vec<Refusal> {
    let users = policy::users(security);
    let mut refusals = devices::refusals(security, users, privileged);
    // What was refused above needs no further reason.
    if privileged && devices::has_rules(security, users == Users::Host) {
        let what = "a container that is held to rules about devices";
        refusals.extend(cgroup::why_no_rules().map(|why| Refusal::new(what, why)));
    }
    refusals
}

fn admit_apparmor(security: &Security) -> Option<Refusal> {
    let Some(AppArmor::Profile(name)) = &security.apparmor else { return None };
    let what = format!("--security-opt apparmor={name}");
    (!has_apparmor()).then(|| Refusal::new(what, "this kernel has no AppArmor, or it is off"))
}

fn admit_users(bundle: &Bundle, privileged: bool) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    match bundle.security.users {
        Some(Users::Kept) if privileged => {
            let why = "it keeps the id of an ordinary user who runs silo; root's containers have ids \
                       of their own, and files in volumes the ids that they have on the host";
            refusals.push(Refusal::new("--userns keep-id", why));
        }
        Some(Users::Host) if !privileged => {
            let why = "without root, nothing can be set up but in a user namespace";
            refusals.push(Refusal::new("--userns host", why));
        }
        _ => {}
    }
    if let Some(user) = &bundle.process.user
        && !privileged
    {
        let why = why_not_user(&bundle.security, (user.uid, user.gid));
        let what = format!("the user {}:{}", user.uid, user.gid);
        refusals.extend(why.map(|why| Refusal::new(what, why)));
    }
    refusals
}

/// Why a user is not there in an ordinary user's container.
fn why_not_user(security: &Security, user: (u32, u32)) -> Option<String> {
    let kept = security.users == Some(Users::Kept);
    if hands_ids_on() && !kept {
        let why = "no range of /etc/subuid and /etc/subgid that is lent to you reaches so far";
        return (!OwnIds::read().has(user.0, user.1)).then(|| why.to_owned());
    }
    let only = if kept { outer_ids() } else { (0, 0) };
    let lent = if kept { "" } else { ", as no ids are lent to you in /etc/subuid and /etc/subgid" };
    (user != only).then(|| {
        format!("without root there is only user {} inside, which is you outside{lent}", only.0)
    })
}

fn barriers() -> Vec<Barrier> {
    [
        ("user namespace", "root inside is nobody outside, with no power over the host"),
        ("mount namespace", "sees the image's files and its volumes, and no file of the host"),
        ("pid namespace", "sees and signals only its own processes"),
        ("network namespace", "has no network but its own loopback, unless given the host's"),
        ("ipc namespace", "shares no memory, semaphore or queue with the host"),
        ("uts namespace", "has a host name of its own"),
        ("time namespace", "does not see how long the host has been up"),
        ("cgroup namespace", "does not see where it stands among the host's cgroups"),
        ("cgroup limits", "uses no more memory, processor time and processes than it is given"),
        ("capabilities", "root inside lacks what reaches beyond the container"),
        ("no_new_privs", "no program raises its privileges, set-user-id or not"),
        ("seccomp", "a third of the kernel's calls is closed, and those of other ABIs"),
        ("masked paths", "reads nothing of the host's hardware and keys, writes no kernel setting"),
    ]
    .map(|(name, keeps)| Barrier { name: name.to_owned(), keeps: keeps.to_owned() })
    .to_vec()
}

#[cfg(test)]
mod tests;
