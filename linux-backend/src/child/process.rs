//! From the process that the kernel cloned to the program.

use std::{
    convert::Infallible,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid},
    io::Errno,
    mount::OpenTreeFlags,
    process::{DumpableBehavior, Signal},
    pty::OpenptFlags,
    termios::Winsize,
    thread::CapabilitySets,
};
use silo_isolation::TerminalSize;

use super::{
    init, priorities, resources,
    root::{attach, clone_tree},
    target::{self, Kind},
};
use crate::{
    plan::{Capabilities, Identity, Landlock, ProcessPlan, Program},
    protocol::{At as _, ChildEnd, Failure, Step},
    sys,
};

/// Where the program's standard streams lead.
#[derive(Clone, Copy)]
pub(crate) enum Streams<'a> {
    Pipes {
        stdin: BorrowedFd<'a>,
        stdout: BorrowedFd<'a>,
        stderr: BorrowedFd<'a>,
    },
    Terminal(TerminalSize),
    /// Where this process's own lead.
    Inherited,
}

/// When a process ends at the latest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// With the thread that cloned it.
    WithParent,
    /// With the first process of its pid namespace, where it is not that itself.
    Apart,
}

/// A terminal in the container's own devpts.
pub(super) struct Terminal {
    master: OwnedFd,
    peer: OwnedFd,
}

impl Terminal {
    pub(super) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Opens one where /dev is still out of the guest's reach.
    pub(super) fn outside(
        dev: BorrowedFd<'_>,
        size: TerminalSize,
        owner: Uid,
    ) -> Result<Self, Errno> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master = rustix::fs::openat(dev, c"pts/ptmx", flags, Mode::empty())?;
        Self::of(master, size, owner)
    }

    /// Opens one in a running container, where names are the guest's: what is found must be a
    /// devpts, which a guest cannot mount.
    pub(super) fn inside(
        root: BorrowedFd<'_>,
        size: TerminalSize,
        owner: Uid,
    ) -> Result<Self, Errno> {
        const DEVPTS_SUPER_MAGIC: i128 = 0x1cd1;
        let place = rustix::fs::openat2(
            root,
            c"dev/pts",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
        )?;
        if i128::from(rustix::fs::fstatfs(&place)?.f_type) != DEVPTS_SUPER_MAGIC {
            return Err(Errno::NOTTY);
        }
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master = rustix::fs::openat(place, c"ptmx", flags, Mode::empty())?;
        Self::of(master, size, owner)
    }

    fn of(master: OwnedFd, size: TerminalSize, owner: Uid) -> Result<Self, Errno> {
        rustix::pty::unlockpt(&master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let peer = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        rustix::termios::tcsetwinsize(&master, window(size))?;
        if owner != Uid::ROOT {
            rustix::fs::fchown(&peer, Some(owner), None::<Gid>)?;
        }
        Ok(Self { master, peer })
    }

    /// Makes it /dev/console.
    pub(super) fn bind_console(&self, dev: BorrowedFd<'_>) -> Result<(), Errno> {
        let target = target::open_or_make(dev, c"console", Kind::File)?;
        attach(&clone_tree(self.peer.as_fd(), c"", OpenTreeFlags::empty())?, &target)
    }
}

/// A terminal's size as the kernel takes it.
pub(crate) const fn window(size: TerminalSize) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Keeps processes without `CAP_SYS_PTRACE` from this one's memory and /proc entries, until execve(2).
pub(super) fn hide() -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Becomes the user of its namespace who makes all that the container finds. It may have had nobody's
/// ids before.
pub(super) fn become_owner(identity: &Identity) -> Result<(), Failure> {
    let (user, group) = identity.owner;
    rustix::thread::set_thread_res_gid(group, group, group).at(Step::SetGroup, 0)?;
    rustix::thread::set_thread_res_uid(user, user, user).at(Step::SetUser, 0)
}

/// Takes on streams, identity and restrictions, waits to be let go, and executes the program.
pub(super) fn become_program(
    plan: &ProcessPlan,
    streams: Streams<'_>,
    terminal: Option<&Terminal>,
    directory: &OwnedFd,
    processes: Option<BorrowedFd<'_>>,
    life: Life,
    end: &ChildEnd,
) -> Result<Infallible, Failure> {
    prepare(plan, streams, terminal, directory, processes, life)?;
    if plan.listens() {
        confine_listening(plan, end)?;
    } else if !plan.filter_last {
        confine(plan)?;
    }
    end.ready(terminal.map(Terminal::master)).at(Step::Report, 0)?;
    if !end.wait() {
        sys::exit(1);
    }
    if plan.init.is_some() {
        init::divide(terminal.map(|terminal| terminal.peer.as_fd()))?;
    }
    if plan.filter_last && !plan.listens() {
        confine(plan)?;
    }
    Err(execute(&plan.program))
}

/// Takes on streams, identity and all restrictions but the filter of system calls.
pub(super) fn prepare(
    plan: &ProcessPlan,
    streams: Streams<'_>,
    terminal: Option<&Terminal>,
    directory: &OwnedFd,
    processes: Option<BorrowedFd<'_>>,
    life: Life,
) -> Result<(), Failure> {
    rustix::process::setsid().at(Step::NewSession, 0)?;
    connect(streams, terminal).at(Step::ConnectStreams, 0)?;
    rustix::process::umask(Mode::from_raw_mode(plan.umask));
    rustix::process::fchdir(directory).at(Step::WorkingDirectory, 1)?;
    // Before what may raise them is given up.
    priorities::take(&plan.priorities)?;
    if let Some(personality) = plan.personality {
        sys::set_personality(personality).at(Step::SetPersonality, 0)?;
    }
    resources::limit(&plan.limits)?;
    // As long as every path is within reach.
    let rules = plan.landlock.as_ref().map(make_rules).transpose()?;
    take_identity(&plan.identity, plan.privileged_filter())?;
    // After the ids: changing them clears it (prctl(2)).
    if life == Life::WithParent {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .at(Step::DieWithParent, 0)?;
    }
    if let (Some(order), Some(processes)) = (&plan.apparmor, processes) {
        confine_by_profile(order, processes).at(Step::AppArmor, 0)?;
    }
    if let (Some(label), Some(processes)) = (&plan.selinux, processes) {
        let path = c"thread-self/attr/exec";
        rustix::fs::openat(processes, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|file| rustix::io::write(file, label.as_bytes()))
            .at(Step::Selinux, 0)?;
    }
    sys::reset_signals();
    sys::set_close_on_exec_from(plan.first_closed).at(Step::CloseDescriptors, 0)?;
    if plan.no_new_privileges {
        rustix::thread::set_no_new_privs(true).at(Step::NoNewPrivileges, 0)?;
    }
    if let Some(rules) = &rules {
        sys::restrict_self(rules.as_fd()).at(Step::Landlock, 0)?;
    }
    Ok(())
}

/// The last restriction: what follows needs no call that a guest may not make.
pub(super) fn confine(plan: &ProcessPlan) -> Result<Option<OwnedFd>, Failure> {
    let listener = match &plan.filter {
        Some(filter) => {
            sys::install(filter.instructions(), filter.flags()).at(Step::InstallFilter, 0)?
        }
        None => None,
    };
    if plan.privileged_filter() {
        set_capabilities(&plan.identity.capabilities).at(Step::SetCapabilities, 1)?;
    }
    Ok(listener)
}

/// The same where a program outside answers some calls: hands over what it listens to, and keeps nothing
/// of it, so that once that program is gone nobody waits for an answer. Early, as whoever starts the
/// container may be another than who can reach that program.
pub(super) fn confine_listening(plan: &ProcessPlan, end: &ChildEnd) -> Result<(), Failure> {
    match confine(plan)? {
        Some(listener) => end.listener(listener.as_fd()).at(Step::InstallFilter, 1),
        None => Ok(()),
    }
}

/// Has the next program confined by a profile, whatever happens to this one's file descriptors and ids until
/// then (`aa_change_onexec(2)`).
fn confine_by_profile(order: &str, processes: BorrowedFd<'_>) -> Result<(), Errno> {
    let open = |path: &std::ffi::CStr| {
        rustix::fs::openat(processes, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
    };
    let file = match open(c"thread-self/attr/apparmor/exec") {
        // Before Linux 5.8 it is there only where AppArmor has no other module beside it.
        Err(Errno::NOENT) => open(c"thread-self/attr/exec"),
        opened => opened,
    }?;
    rustix::io::write(file, order.as_bytes()).map(drop)
}

fn connect(streams: Streams<'_>, terminal: Option<&Terminal>) -> Result<(), Errno> {
    let (stdin, stdout, stderr) = match (streams, terminal) {
        (Streams::Pipes { stdin, stdout, stderr }, _) => (stdin, stdout, stderr),
        (Streams::Terminal(_), Some(terminal)) => {
            rustix::process::ioctl_tiocsctty(&terminal.peer)?;
            let peer = terminal.peer.as_fd();
            (peer, peer, peer)
        }
        (Streams::Terminal(_), None) => return Err(Errno::NOTTY),
        (Streams::Inherited, _) => return Ok(()),
    };
    rustix::stdio::dup2_stdin(stdin)?;
    rustix::stdio::dup2_stdout(stdout)?;
    rustix::stdio::dup2_stderr(stderr)
}

fn make_rules(landlock: &Landlock) -> Result<OwnedFd, Failure> {
    let rules = landlock.refused.create().at(Step::Landlock, 1)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(c"/", flags, Mode::empty()).at(Step::Landlock, 2)?;
    for (path, access) in &landlock.permitted {
        target::open(root.as_fd(), path)
            .and_then(|parent| sys::permit_beneath(rules.as_fd(), parent.as_fd(), *access))
            .at(Step::Landlock, 3)?;
    }
    Ok(rules)
}

/// Becomes who the program runs as; with `keep` for now with all capabilities that it has.
fn take_identity(identity: &Identity, keep: bool) -> Result<(), Failure> {
    sys::clear_bounding_set(identity.bounding.bits()).at(Step::DropBounding, 0)?;
    if let Some(groups) = &identity.groups {
        rustix::thread::set_thread_groups(groups).at(Step::SetGroups, 0)?;
    }
    let group = identity.group;
    rustix::thread::set_thread_res_gid(group, group, group).at(Step::SetGroup, 0)?;
    // Ends with execve(2).
    let Capabilities { permitted, inheritable, .. } = identity.capabilities;
    let keeps = keep || !(permitted | inheritable).is_empty();
    rustix::thread::set_keep_capabilities(keeps).at(Step::SetUser, 2)?;
    let user = identity.user;
    rustix::thread::set_thread_res_uid(user, user, user).at(Step::SetUser, 0)?;
    if keep {
        let permitted = rustix::thread::capabilities(None).at(Step::SetCapabilities, 2)?.permitted;
        return set_capabilities(&Capabilities::only(permitted)).at(Step::SetCapabilities, 0);
    }
    set_capabilities(&identity.capabilities).at(Step::SetCapabilities, 0)
}

fn set_capabilities(capabilities: &Capabilities) -> Result<(), Errno> {
    let sets = CapabilitySets {
        effective: capabilities.effective,
        permitted: capabilities.permitted,
        inheritable: capabilities.inheritable,
    };
    // The ambient set never exceeds the inheritable one, and is emptied with it.
    rustix::thread::set_capabilities(None, sets)?;
    for capability in capabilities.ambient.iter() {
        rustix::thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Tries each candidate, as execvp(3) does; returns why none ran.
pub(super) fn execute(program: &Program) -> Failure {
    let mut failure = Failure { step: Step::Execute, index: 0, errno: Errno::NOENT };
    for (index, path) in program.candidates.iter().enumerate() {
        let errno = sys::execute(path, &program.args, &program.env);
        let found = rustix::fs::accessat(CWD, path.as_c_str(), Access::EXISTS, AtFlags::empty());
        let step = match errno {
            Errno::NOENT | Errno::NOTDIR if found.is_err() => continue,
            Errno::NOENT => Step::Interpret,
            _ => Step::Execute,
        };
        let directory = rustix::fs::statat(CWD, path.as_c_str(), AtFlags::empty())
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        let errno = if directory { Errno::ISDIR } else { errno };
        failure = Failure { step, index, errno };
        // What may not be executed is passed over in a search; anything else ends it.
        if !matches!(errno, Errno::ACCESS | Errno::ISDIR) {
            break;
        }
    }
    failure
}
