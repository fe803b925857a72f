//! The first process of an OCI container, from clone to its program.

use std::{
    convert::Infallible,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Access, AtFlags, CWD, FileType},
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{
    Streams, container_root, fail, hooks, join_cgroups, priorities, process, raise_loopback,
    resources, write,
};
use crate::{
    plan::Program,
    protocol::{At as _, ChildEnd, Failure, Gate, Setup, Step},
    runtime::ContainerPlan,
    sys::{self, Where},
};

/// What the first process of a container needs.
pub(crate) struct Container<'a> {
    pub(crate) plan: &'a ContainerPlan,
    pub(crate) streams: Streams<'a>,
    /// `tasks` of each cgroup v1 directory, open for writing.
    pub(crate) cgroups: &'a [OwnedFd],
    /// The host's /proc, where a security module is to be told of the program.
    pub(crate) processes: Option<BorrowedFd<'a>>,
    pub(crate) gate: &'a Gate,
    pub(crate) end: &'a ChildEnd,
    pub(crate) parents_end: &'a Setup,
    /// What runs in the place of the plan's program. It may allocate: the parent has no other thread.
    pub(crate) inside: Option<&'a dyn Fn() -> u8>,
}

impl Container<'_> {
    /// Becomes the program once it is let go, or says why not and ends.
    pub(crate) fn run(&self) -> Infallible {
        self.parents_end.close_copy();
        let Err(failure) = self.set_up().and_then(|()| self.start());
        fail(self.end, failure)
    }

    fn set_up(&self) -> Result<(), Failure> {
        let plan = self.plan;
        if plan.awaits_cgroup && !self.end.wait() {
            sys::exit(1);
        }
        join_cgroups(self.cgroups)?;
        priorities::stay_on(plan.process.priorities.joined.as_ref())?;
        sys::unshare(plan.unshared.0).at(Step::Unshare, 0)?;
        // As long as this process has the ids of its parent, whose files in /proc these are.
        if let Some(clocks) = &plan.clocks {
            write(c"/proc/self/timens_offsets", clocks).at(Step::SetClocks, 0)?;
        }
        if !plan.id_maps.is_empty() && !self.end.wait() {
            sys::exit(1);
        }
        if plan.becomes_root {
            process::become_owner(&plan.process.identity)?;
        }
        // No process of the container may look into this one, which is still the engine.
        process::hide().at(Step::JoinNamespaces, 1)?;
        if plan.keyring {
            join_keyring()?;
        }
        resources::set_sysctls(&plan.sysctls)?;
        if let Some(hostname) = &plan.hostname {
            rustix::system::sethostname(hostname.as_bytes()).at(Step::SetHostname, 0)?;
        }
        if let Some(name) = &plan.domain_name {
            rustix::system::setdomainname(name.as_bytes()).at(Step::SetDomainName, 0)?;
        }
        if plan.loopback {
            raise_loopback().at(Step::RaiseLoopback, 0)?;
        }
        let (directory, terminal) = container_root::enter(plan, self.streams, self.end)?;
        let life = process::Life::Apart;
        process::prepare(
            &plan.process,
            self.streams,
            terminal.as_ref(),
            &directory,
            self.processes,
            life,
        )?;
        if self.inside.is_none() {
            find(&plan.process.program)?;
        }
        if plan.process.listens() {
            process::confine_listening(&plan.process, self.end)?;
        }
        self.end.ready(terminal.as_ref().map(process::Terminal::master)).at(Step::Report, 0)
    }

    /// Waits to be let go. Who does that is told of failures from here on.
    fn start(&self) -> Result<Infallible, Failure> {
        sys::end_on_request();
        if self.inside.is_none() {
            // Whoever made the container does not wait for what it has open.
            sys::close_others(self.plan.process.first_closed, self.gate.descriptor());
        }
        let (starter, state) = self.gate.wait().at(Step::Report, 1)?;
        if let Err(failure) = self.let_go(state.as_fd()) {
            fail(&starter, failure);
        }
        if let Some(inside) = self.inside {
            // Its end says that the program runs.
            drop(starter);
            sys::exit(inside().into());
        }
        fail(&starter, process::execute(&self.plan.process.program))
    }

    fn let_go(&self, state: BorrowedFd<'_>) -> Result<(), Failure> {
        let plan = &self.plan.process;
        // What is installed holds for them as for all else that this process runs.
        let confined = if plan.listens() { None } else { Some(plan) };
        hooks::run(&self.plan.start_hooks, state, confined)?;
        sys::reset_signals();
        match confined {
            Some(plan) => process::confine(plan).map(drop),
            None => Ok(()),
        }
    }
}

/// A kernel may be without keyrings, and a filter around this process may refuse them.
fn join_keyring() -> Result<(), Failure> {
    match sys::join_keyring() {
        Err(Errno::NOSYS | Errno::PERM) => Ok(()),
        joined => joined.at(Step::JoinKeyring, 0),
    }
}

/// Finds the program before anybody waits for it to start.
fn find(program: &Program) -> Result<(), Failure> {
    let mut failure = Failure { step: Step::Execute, index: 0, errno: Errno::NOENT };
    for (index, path) in program.candidates.iter().enumerate() {
        let stat = rustix::fs::statat(CWD, path.as_c_str(), AtFlags::empty());
        let errno = match stat.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(errno) => errno,
            Ok(FileType::Directory) => Errno::ISDIR,
            Ok(_) => {
                let flags = AtFlags::EACCESS;
                match rustix::fs::accessat(CWD, path.as_c_str(), Access::EXEC_OK, flags) {
                    Ok(()) => return Ok(()),
                    Err(errno) => errno,
                }
            }
        };
        failure = Failure { step: Step::Execute, index, errno };
    }
    Err(failure)
}

/// What a process needs that joins namespaces for a container whose first process it clones: the
/// parent stays in its own.
pub(crate) struct Entering<'a> {
    pub(crate) container: Container<'a>,
    /// The namespaces to be joined, in the order of joining.
    pub(crate) joined: &'a [OwnedFd],
    /// The cgroup v2 directory that the container starts in.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// Where this process speaks.
    pub(crate) end: &'a ChildEnd,
}

impl Entering<'_> {
    /// Runs in a process that shares the parent's descriptors and so closes none.
    pub(crate) fn run(&self) -> Infallible {
        match self.enter() {
            Ok(pidfd) => self.end.made(pidfd),
            Err(failure) => self.end.failed(failure),
        }
        sys::exit(0)
    }

    fn enter(&self) -> Result<i32, Failure> {
        for (index, namespace) in self.joined.iter().enumerate() {
            let any = None::<LinkNameSpaceType>;
            move_into_link_name_space(namespace.as_fd(), any)
                .at(Step::JoinNamespaces, index + 2)?;
        }
        let place =
            Where::Sibling { namespaces: self.container.plan.namespaces.0, cgroup: self.cgroup };
        let clone = sys::clone(place, || {
            self.end.close_copy();
            self.container.run()
        });
        Ok(std::os::fd::IntoRawFd::into_raw_fd(clone.at(Step::CloneInside, 0)?.pidfd))
    }
}
