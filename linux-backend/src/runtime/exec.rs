//! `exec`: a further process in a running container.

use std::{
    fs,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use oci_spec::runtime::Process;
use rustix::thread::ThreadNameSpaceType;
use silo_isolation::ExitStatus;

use super::{
    Error, Result, Runtime, SharedTerminal, agent,
    console::{Console, send_named},
    create::{give_own_streams, outside},
    explain::{Explain, Subject},
    process::{self, Circumstances},
    record::{Directory, Record, Status, replace},
    systemd::Session,
};
use crate::{
    backend::open_processes,
    child::{Joining, Streams},
    plan::Namespaces,
    protocol,
    sys::{self, Cloned, Where},
};

/// How a further process is run.
#[derive(Clone, Debug, Default)]
pub struct ExecOptions {
    /// A socket that its terminal is sent to.
    pub console_socket: Option<PathBuf>,
    /// A socket that a handle on it (`pidfd_open(2)`) is sent to.
    pub pidfd_socket: Option<PathBuf>,
    /// A file that its number is written to.
    pub pid_file: Option<PathBuf>,
    /// How many descriptors from 3 on it gets.
    pub preserve_fds: u32,
    /// Whether nobody waits for it here.
    pub detached: bool,
    /// Whether what its terminal prints, where that is copied here, is for no terminal.
    pub plain_output: bool,
    /// Whether a container that is paused is no failure: the process waits.
    pub ignore_paused: bool,
    /// The cgroups that it is put in, below the container's own: `[CONTROLLER,...:]PATH`.
    pub cgroups: Vec<String>,
}

/// A further process.
pub struct Joined {
    process: OwnedFd,
    terminal: Option<SharedTerminal>,
}

impl Joined {
    /// Waits for it to end.
    pub fn wait(&self) -> Result<ExitStatus> {
        super::wait(self.process.as_fd())
    }

    /// Sends it a signal. One that has ended is success.
    pub fn signal(&self, signal: u8) -> Result<()> {
        match sys::send_signal(self.process.as_fd(), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(Error::step(format!("send signal {signal}"))(errno)),
        }
    }

    /// Its terminal, where that was not sent elsewhere.
    #[must_use]
    pub fn terminal(&self) -> Option<SharedTerminal> {
        self.terminal.clone()
    }
}

impl Runtime {
    /// The process that the container was made with: what a further one takes after.
    pub fn first_process(&self, id: &str) -> Result<Process> {
        let record = Directory::of(&self.root, id)?.read(id)?;
        let process = record.config.process().clone();
        process.ok_or_else(|| Error::config("process", "there is none"))
    }

    /// Runs `process` in the container.
    pub fn exec(&self, id: &str, process: &Process, options: &ExecOptions) -> Result<Joined> {
        let directory = Directory::of(&self.root, id)?;
        let record = directory.read(id)?;
        match record.status(&directory) {
            Status::Running | Status::Created => {}
            Status::Paused if options.ignore_paused => {}
            // As runc says it.
            Status::Paused => {
                let what = "cannot exec in a paused container (use --ignore-paused to override)";
                return Err(Error::Unsupported(what.to_owned()));
            }
            status => {
                let what = format!("cannot exec in a {} container", status.name());
                return Err(Error::Unsupported(what));
            }
        }
        let console = Console::new(process, options.console_socket.clone(), options.detached)?;
        let first = record.process()?;
        let (process, terminal) = self.join(&record, &first, process, &console, options)?;
        if let Some(socket) = &options.pidfd_socket {
            send_named(socket, &process, b"pidfd")?;
        }
        if let Some(file) = &options.pid_file {
            replace(file, super::number_of(&process)?.to_string().as_bytes())?;
        }
        let terminal = console.give(terminal)?;
        if let Some(terminal) = terminal.as_ref().filter(|_| options.plain_output) {
            super::print_plainly(terminal)?;
        }
        Ok(Joined { process, terminal: terminal.map(super::shared) })
    }

    fn join(
        &self,
        record: &Record,
        first: &OwnedFd,
        process: &Process,
        console: &Console,
        options: &ExecOptions,
    ) -> Result<(OwnedFd, Option<OwnedFd>)> {
        let linux = record.config.linux().as_ref();
        let namespaces = others(record.pid)?;
        let root = format!("/proc/{}/root", record.pid);
        let root = fs::File::open(&root).map_err(Error::file("open", &root))?;
        let circumstances = Circumstances {
            root: root.as_fd(),
            seccomp: linux.and_then(|linux| linux.seccomp().as_ref()),
            personality: linux.and_then(|linux| linux.personality().as_ref()),
            memory: linux.and_then(|linux| linux.memory_policy().as_ref()),
            other_users: namespaces.contains(Namespaces::USER),
            sets_groups: sets_groups(record.pid),
            further: true,
            preserved: options.preserve_fds,
        };
        let plan = process::plan(process, &circumstances)?;
        // A user's process is moved by the user's systemd: most come from cgroups that it may not leave.
        let moved =
            record.cgroups.unit.as_ref().filter(|unit| unit.user && options.cgroups.is_empty());
        let cgroups = match moved {
            Some(_) => Vec::new(),
            None => record.cgroups.entries(record.pid, &options.cgroups)?,
        };
        let connect = || Error::step("connect to the container");
        let (setup, end) = protocol::connect().map_err(connect())?;
        let (helping, helpers_end) = protocol::connect_helper().map_err(connect())?;
        if console.size().is_none() {
            give_own_streams(outside(plan.identity.user.as_raw(), linux));
        }
        let processes = open_processes(&plan)?;
        let joining = Joining {
            plan: &plan,
            streams: console.size().map_or(Streams::Inherited, Streams::Terminal),
            first: first.as_fd(),
            namespaces: ThreadNameSpaceType::from_bits_retain(namespaces.0),
            processes: processes.as_ref().map(|directory| directory.as_fd()),
            cgroups: &cgroups,
            helpers_end: &helpers_end,
            end: &end,
            parents_end: &setup,
        };
        let helper = sys::clone(Where::Helper, || joining.run())
            .map_err(Error::step("clone a helper to enter the container"))?;
        // Until it has ended, the helper uses this process's descriptors: none may be closed.
        super::wait(helper.pidfd.as_fd())?;
        drop((helpers_end, end, cgroups, processes));
        let explain = Explain(Subject::Process(&plan));
        let pidfd = sys::adopt(helping.made().map_err(|broken| explain.broken(broken))?);
        let process = Ending(Some(Cloned { pid: 0, pidfd }));
        // One that has ended already says why when it is asked whether it is ready.
        if let (Some(unit), Ok(pid)) = (moved, process.number()) {
            Session::open(&self.manager)?.attach(unit, pid)?;
        }
        if plan.listens() {
            let listener = setup.listener().map_err(|broken| explain.broken(broken))?;
            let profile = linux.and_then(|linux| linux.seccomp().as_ref());
            let state = record.state(Status::Running);
            agent::tell(profile, &listener, process.number()?, &state)?;
        }
        let (waiting, terminal) = setup.ready().map_err(|broken| explain.broken(broken))?;
        waiting.go().map_err(|broken| explain.broken(broken))?;
        Ok((process.done()?, terminal))
    }
}

/// A process that ends with this unless it is done.
struct Ending(Option<Cloned>);

impl Ending {
    /// Its number on the host.
    fn number(&self) -> Result<i32> {
        self.0.as_ref().map_or(Err(Error::NotRunning), |process| super::number_of(&process.pidfd))
    }

    fn done(mut self) -> Result<OwnedFd> {
        self.0.take().map(|process| process.pidfd).ok_or(Error::NotRunning)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(process) = self.0.take() {
            // The failure to be told is another.
            let _ = sys::send_signal(process.pidfd.as_fd(), 9);
            let _ = super::wait(process.pidfd.as_fd());
        }
    }
}

/// The kinds of namespaces in which `pid` is in another one than this process.
fn others(pid: i32) -> Result<Namespaces> {
    const FILES: [(&str, Namespaces); 8] = [
        ("user", Namespaces::USER),
        ("mnt", Namespaces::MOUNT),
        ("pid", Namespaces::PID),
        ("net", Namespaces::NETWORK),
        ("ipc", Namespaces::IPC),
        ("uts", Namespaces::UTS),
        ("cgroup", Namespaces::CGROUP),
        ("time", Namespaces::TIME),
    ];
    let mut others = Namespaces(0);
    for (file, kind) in FILES {
        let [theirs, own] = [pid.to_string(), "self".to_owned()]
            .map(|process| fs::read_link(Path::new("/proc").join(process).join("ns").join(file)));
        match (theirs, own) {
            (Ok(theirs), Ok(own)) if theirs != own => others = others.and(kind),
            (Err(error), Ok(_)) => {
                return Err(Error::step("look at the container's namespaces")(error));
            }
            // A kernel without such namespaces has no such file.
            _ => {}
        }
    }
    Ok(others)
}

/// Whether a process of the user namespace of `pid` may change its groups (`user_namespaces(7)`).
fn sets_groups(pid: i32) -> bool {
    let file = format!("/proc/{pid}/setgroups");
    fs::read_to_string(file).is_ok_and(|text| text.trim() == "allow")
}
