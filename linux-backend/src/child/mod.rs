//! What runs between clone and exec.
//!
//! The child follows the plan and decides nothing that the parent could have. It is a copy of a
//! process that may have had other threads, so nothing here allocates, takes a lock, logs or
//! panics. The first step that fails is told by name and ends it.

mod container;
mod container_root;
mod devices;
mod hooks;
mod init;
mod priorities;
mod process;
mod resources;
mod root;
mod target;

use std::{
    convert::Infallible,
    ffi::CStr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::OpenTreeFlags,
    net::{AddressFamily, SocketFlags, SocketType},
    thread::ThreadNameSpaceType,
};

pub(crate) use container::{Container, Entering};
pub(crate) use container_root::open_source as open_bundle_source;
pub(crate) use devices::make as make_devices;
pub(crate) use hooks::failure as hook_failure;
pub(crate) use process::{Streams, window};
pub(crate) use root::{add_options, clone_tree, detached, open_source};

use crate::{
    plan::{Namespaces, Plan, ProcessPlan, RootPlan},
    protocol::{At as _, ChildEnd, Failure, Setup, Step},
    sys::{self, Where},
};

/// What the first process of a sandbox needs.
pub(crate) struct First<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) streams: Streams<'a>,
    /// `tasks` of each cgroup v1 directory, open for writing.
    pub(crate) cgroups: &'a [OwnedFd],
    /// The host's /proc, where the plan has something to be written in it.
    pub(crate) processes: Option<BorrowedFd<'a>>,
    pub(crate) end: &'a ChildEnd,
    pub(crate) parents_end: &'a Setup,
}

impl First<'_> {
    /// Becomes the program, or says why not and ends.
    pub(crate) fn run(&self) -> Infallible {
        self.parents_end.close_copy();
        let Err(failure) = self.try_run();
        fail(self.end, failure)
    }

    fn try_run(&self) -> Result<Infallible, Failure> {
        let plan = self.plan;
        join_cgroups(self.cgroups)?;
        sys::unshare(plan.unshared.0).at(Step::Unshare, 0)?;
        // As long as this process has the ids of its parent, whose files in /proc these are.
        if let Some(clocks) = &plan.clocks {
            write(c"/proc/self/timens_offsets", clocks).at(Step::SetClocks, 0)?;
        }
        if let Some(arguments) = &plan.process.init {
            init::cover(arguments)?;
        }
        let in_user_namespace = plan.namespaces.contains(Namespaces::USER);
        if in_user_namespace && !self.end.wait() {
            sys::exit(1);
        }
        resources::set_oom_score(plan.process.oom_score_adj.as_deref())?;
        if in_user_namespace {
            process::become_owner(&plan.process.identity)?;
        }
        resources::set_sysctls(&plan.sysctls)?;
        let (directory, terminal) = root::enter(plan, self.streams, self.end)?;
        rustix::system::sethostname(plan.hostname.as_bytes()).at(Step::SetHostname, 0)?;
        if plan.loopback {
            raise_loopback().at(Step::RaiseLoopback, 0)?;
        }
        let life = process::Life::WithParent;
        process::become_program(
            &plan.process,
            self.streams,
            terminal.as_ref(),
            &directory,
            self.processes,
            life,
            self.end,
        )
    }
}

/// What a process that joins a running sandbox needs.
pub(crate) struct Joining<'a> {
    pub(crate) plan: &'a ProcessPlan,
    pub(crate) streams: Streams<'a>,
    /// The sandbox's first process, and which of its namespaces are to be joined.
    pub(crate) first: BorrowedFd<'a>,
    pub(crate) namespaces: ThreadNameSpaceType,
    /// `tasks` or `cgroup.procs` of each of its cgroups, open for writing.
    pub(crate) cgroups: &'a [OwnedFd],
    /// The host's /proc, where the plan has something to be written in it.
    pub(crate) processes: Option<BorrowedFd<'a>>,
    /// Where the helper speaks.
    pub(crate) helpers_end: &'a ChildEnd,
    /// Where the process that it clones speaks.
    pub(crate) end: &'a ChildEnd,
    pub(crate) parents_end: &'a Setup,
}

impl Joining<'_> {
    /// Runs in the helper, which shares the parent's descriptors and so closes none: joins the
    /// sandbox, clones the process that becomes the program, and ends. It takes a helper, because a
    /// process never changes its own pid namespace, only that of its children.
    pub(crate) fn run(&self) -> Infallible {
        match self.enter() {
            Ok(pidfd) => self.helpers_end.made(pidfd),
            Err(failure) => self.helpers_end.failed(failure),
        }
        sys::exit(0)
    }

    fn enter(&self) -> Result<i32, Failure> {
        resources::set_oom_score(self.plan.oom_score_adj.as_deref())?;
        // No process of the sandbox may look into this one, which is still the engine.
        process::hide().at(Step::JoinNamespaces, 1)?;
        priorities::stay_on(self.plan.priorities.joining.as_ref())?;
        join_cgroups(self.cgroups)?;
        priorities::stay_on(self.plan.priorities.joined.as_ref())?;
        // As long as this process may: the one that it clones has them, too.
        resources::raise(&self.plan.limits)?;
        rustix::thread::move_into_thread_name_spaces(self.first, self.namespaces)
            .at(Step::JoinNamespaces, 0)?;
        if self.namespaces.bits() & Namespaces::USER.0 != 0 {
            process::become_owner(&self.plan.identity)?;
        }
        let place = Where::Sibling { namespaces: 0, cgroup: None };
        let cloned = sys::clone(place, || self.become_program()).at(Step::CloneInside, 0)?;
        Ok(std::os::fd::IntoRawFd::into_raw_fd(cloned.pidfd))
    }

    fn become_program(&self) -> Infallible {
        self.parents_end.close_copy();
        self.helpers_end.close_copy();
        let Err(failure) = self.try_become_program();
        fail(self.end, failure)
    }

    fn try_become_program(&self) -> Result<Infallible, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(c"/", flags, Mode::empty()).at(Step::WorkingDirectory, 0)?;
        let directory = target::open(root.as_fd(), &self.plan.working_directory)
            .at(Step::WorkingDirectory, 0)?;
        let terminal = match self.streams {
            Streams::Terminal(size) => {
                let owner = self.plan.identity.user;
                Some(
                    process::Terminal::inside(root.as_fd(), size, owner)
                        .at(Step::OpenTerminal, 0)?,
                )
            }
            Streams::Pipes { .. } | Streams::Inherited => None,
        };
        let life = process::Life::Apart;
        process::become_program(
            self.plan,
            self.streams,
            terminal.as_ref(),
            &directory,
            self.processes,
            life,
            self.end,
        )
    }
}

/// What a helper needs that mounts a root by the names of its layers.
pub(crate) struct Mounting<'a> {
    pub(crate) plan: &'a RootPlan,
    /// A mount of the store, attached nowhere, with mapped ids.
    pub(crate) base: BorrowedFd<'a>,
    /// Who owns what overlayfs makes.
    pub(crate) first: u32,
    pub(crate) end: &'a ChildEnd,
}

impl Mounting<'_> {
    /// Leaves the mount in the parent's table of descriptors, which it shares, and ends.
    pub(crate) fn run(&self) -> Infallible {
        match self.mount() {
            Ok(mount) => self.end.made(std::os::fd::IntoRawFd::into_raw_fd(mount)),
            Err(failure) => self.end.failed(failure),
        }
        sys::exit(0)
    }

    fn mount(&self) -> Result<OwnedFd, Failure> {
        sys::unshare(Namespaces::MOUNT.0).at(Step::PrivateMounts, 0)?;
        root::attach_store(self.base)?;
        let mount = || root::mount_root_at_once(self.plan);
        let mount = sys::acting_on_files_as(self.first, mount).at(Step::SetUser, 1)??;
        clone_tree(mount.as_fd(), c"", OpenTreeFlags::empty()).at(Step::MountOverlay, 1)
    }
}

fn fail(end: &ChildEnd, failure: Failure) -> ! {
    end.failed(failure);
    sys::exit(1)
}

/// Moves this process. Writing "0" to `tasks` moves the one thread that writes, for which the
/// kernel need not wait until no process forks (10 ms); this process has but one.
fn join_cgroups(cgroups: &[OwnedFd]) -> Result<(), Failure> {
    for (index, tasks) in cgroups.iter().enumerate() {
        rustix::io::write(tasks, b"0").at(Step::JoinCgroup, index)?;
    }
    Ok(())
}

fn write(path: &CStr, content: &str) -> Result<(), Errno> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, content.as_bytes()).map(drop)
}

fn raise_loopback() -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    sys::bring_up(socket.as_fd())
}
