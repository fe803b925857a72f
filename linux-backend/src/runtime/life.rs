//! What is done with a container between `create` and its end.

use std::{
    fs,
    os::fd::{AsFd as _, BorrowedFd},
    thread,
    time::{Duration, Instant},
};

use oci_spec::runtime::{LinuxNamespaceType, LinuxResources};
use rustix::io::Errno;
use serde_json::Value;
use silo_isolation::ExitStatus;

use super::{
    Error, Made, Result, Runtime, SharedTerminal, State,
    explain::program,
    hooks,
    record::{Directory, Record, Status},
    systemd,
};
use crate::{
    child::hook_failure,
    protocol::{Broken, Gate, Step},
    record::in_namespace_of,
    sys,
};

impl Made {
    /// Waits for its first process to end.
    pub fn wait(&self) -> Result<ExitStatus> {
        super::wait(self.process.pidfd.as_fd())
    }

    /// Its terminal, where that was not sent elsewhere.
    #[must_use]
    pub fn terminal(&self) -> Option<SharedTerminal> {
        self.terminal.clone()
    }
}

impl Runtime {
    fn find(&self, id: &str) -> Result<(Directory, Record)> {
        let directory = Directory::of(&self.root, id)?;
        let record = directory.read(id)?;
        Ok((directory, record))
    }

    /// Lets the program of a created container run.
    pub fn start(&self, id: &str) -> Result<()> {
        let (directory, record) = self.find(id)?;
        match record.status(&directory) {
            Status::Created => {}
            Status::Stopped => {
                return Err(Error::State {
                    verb: "start",
                    state: "stopped",
                    hint: ": its process has ended; delete it",
                });
            }
            status => {
                return Err(Error::State { verb: "start", state: status.name(), hint: "" });
            }
        }
        let step = || Error::step::<Errno>("let the container start");
        let waiting = {
            let (address, _directory) = directory.gate_address()?;
            Gate::reach(&address).map_err(step())?
        };
        let input = hooks::input(&record.state(Status::Created))
            .map_err(Error::step("write the container's state"))?;
        let name = record.program();
        // Who removes it is the one who starts the container; others leave without a word.
        if !directory.remove_gate()? {
            return Err(Error::State { verb: "start", state: "running", hint: "" });
        }
        waiting.go_with(Some(input.as_fd())).map_err(|broken| match broken {
            Broken::Failed(failure) if failure.step == Step::RunHook => {
                let why = hook_failure(failure.errno);
                Error::Hook { stage: "startContainer", index: failure.index, why }
            }
            Broken::Failed(failure) if failure.step == Step::InstallFilter => {
                Error::step("install the seccomp filter")(failure.errno)
            }
            Broken::Failed(failure) => program(&name, failure),
            Broken::Silent => Error::NotRunning,
            Broken::Socket(errno) => step()(errno),
        })?;
        let hooks = record.config.hooks().as_ref();
        let after = hooks.and_then(|hooks| hooks.poststart().as_ref());
        hooks::run("poststart", after, &record.state(Status::Running)).inspect_err(|_| {
            // runtime.md, "Lifecycle", 9: it is stopped and destroyed. The failure to be told is the hook's.
            let _ = self.delete(id, true);
        })
    }

    /// Where the container stands.
    pub fn state(&self, id: &str) -> Result<State> {
        let (directory, record) = self.find(id)?;
        Ok(record.state(record.status(&directory)))
    }

    /// All containers, by their names.
    pub fn list(&self) -> Result<Vec<State>> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::file("read", &self.root))?,
        };
        let mut states = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::file("read", &self.root))?;
            let Some(id) = entry.file_name().to_str().map(str::to_owned) else { continue };
            match self.state(&id) {
                // It is being made or deleted, or is none.
                Err(Error::Missing(_) | Error::Id(_)) => {}
                state => states.push(state?),
            }
        }
        states.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(states)
    }

    /// Sends a signal to the container's first process, or to all that it has.
    pub fn kill(&self, id: &str, signal: u8, all: bool) -> Result<()> {
        let (_, record) = self.find(id)?;
        if all {
            return record.signal_all(signal);
        }
        // Without a pid namespace of its own nothing ends with the first process.
        if signal == KILL && !record.has_own_processes() {
            if !record.is_alive() && record.processes().is_empty() {
                return Err(Error::NotRunning);
            }
            return record.signal_all(signal);
        }
        let process = record.process()?;
        send(process.as_fd(), signal)?;
        // What is frozen by version 1 does not end, whatever it was sent.
        if signal == KILL && record.cgroups.is_frozen() { record.cgroups.thaw() } else { Ok(()) }
    }

    /// Removes a container that has ended, or with `force` whatever it does. With that, none of that
    /// name is no failure.
    pub fn delete(&self, id: &str, force: bool) -> Result<()> {
        let directory = Directory::of(&self.root, id)?;
        let record = match directory.read(id) {
            // What was never finished has nothing to be found by.
            Err(Error::Missing(_)) if force => return directory.remove(),
            Err(Error::Missing(_)) if directory.exists() => {
                return Err(Error::State { verb: "delete", state: "creating", hint: "" });
            }
            record => record?,
        };
        match record.status(&directory) {
            Status::Stopped => {}
            // It has run nothing that could mind.
            Status::Created => record.end()?,
            _ if force => record.end()?,
            status => {
                return Err(Error::State {
                    verb: "delete",
                    state: status.name(),
                    hint: ": it is not stopped (kill it first, or --force)",
                });
            }
        }
        record.end_others()?;
        self.remove_cgroups(&record.cgroups)?;
        directory.remove()?;
        let hooks = record.config.hooks().as_ref();
        let after = hooks.and_then(|hooks| hooks.poststop().as_ref());
        hooks::run_all("poststop", after, &record.state(Status::Stopped))
    }

    /// Has all processes of the container stand still.
    pub fn pause(&self, id: &str) -> Result<()> {
        let (directory, record) = self.find(id)?;
        match record.status(&directory) {
            Status::Running | Status::Created => record.cgroups.freeze(),
            status => Err(Error::State { verb: "pause", state: status.name(), hint: "" }),
        }
    }

    /// Lets them go on.
    pub fn resume(&self, id: &str) -> Result<()> {
        let (directory, record) = self.find(id)?;
        match record.status(&directory) {
            Status::Paused => record.cgroups.thaw(),
            status => Err(Error::State { verb: "resume", state: status.name(), hint: "" }),
        }
    }

    /// Holds the container to other resources; what they do not name stays.
    pub fn update(&self, id: &str, resources: &LinuxResources) -> Result<()> {
        let (directory, record) = self.find(id)?;
        if record.status(&directory) == Status::Stopped {
            return Err(Error::NotRunning);
        }
        if let Some(unit) = &record.cgroups.unit {
            let settings = record.cgroups.settings(resources)?;
            let properties = systemd::of_settings(&settings)?;
            systemd::Session::open(&self.manager)?.set(unit, &properties)?;
        }
        record.cgroups.limit(resources)
    }

    /// The processes of the container, by their numbers on the host.
    pub fn processes(&self, id: &str) -> Result<Vec<i32>> {
        let (_, record) = self.find(id)?;
        Ok(record.processes())
    }

    /// What the container uses: the data of runc's `stats` events.
    pub fn stats(&self, id: &str) -> Result<Value> {
        let (_, record) = self.find(id)?;
        if record.is_alive() { Ok(record.cgroups.stats()) } else { Err(Error::NotRunning) }
    }

    /// How often the kernel has killed a process of the container for want of memory.
    pub fn oom_kills(&self, id: &str) -> Result<u64> {
        Ok(self.find(id)?.1.cgroups.oom_kills())
    }
}

const KILL: u8 = 9;
/// How long a killed process may take to end: one in an uninterruptible sleep is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

fn send(process: BorrowedFd<'_>, signal: u8) -> Result<()> {
    match sys::send_signal(process, signal) {
        Err(Errno::SRCH) => Err(Error::NotRunning),
        sent => sent.map_err(Error::step(format!("send signal {signal} to the container"))),
    }
}

impl Record {
    /// The program's name, for messages.
    fn program(&self) -> String {
        let process = self.config.process().as_ref();
        let args = process.and_then(|process| process.args().as_ref());
        args.and_then(|args| args.first()).cloned().unwrap_or_default()
    }

    /// Kills the first process and waits until it has ended.
    fn end(&self) -> Result<()> {
        let process = match self.process() {
            Err(Error::NotRunning) => return Ok(()),
            process => process?,
        };
        match send(process.as_fd(), KILL) {
            Err(Error::NotRunning) => return Ok(()),
            sent => sent?,
        }
        self.cgroups.thaw()?;
        let start = Instant::now();
        while self.is_alive() {
            if start.elapsed() > PATIENCE {
                let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
                return Err(Error::step("end the container's process")(late));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The processes of the container: of its cgroup, or else of its pid namespace.
    fn processes(&self) -> Vec<i32> {
        let found = self.cgroups.processes();
        if found.is_empty() && self.is_alive() && self.has_own_processes() {
            return in_namespace_of(self.pid);
        }
        found
    }

    /// Whether it has a pid namespace of its own: all in it ends with its first process.
    fn has_own_processes(&self) -> bool {
        let linux = self.config.linux().as_ref();
        let namespaces = linux.and_then(|linux| linux.namespaces().as_ref());
        namespaces.into_iter().flatten().any(|namespace| {
            let is_new = namespace.path().as_ref().is_none_or(|path| path.as_os_str().is_empty());
            namespace.typ() == LinuxNamespaceType::Pid && is_new
        })
    }

    /// Kills what is left of a container that had no pid namespace of its own to end with.
    fn end_others(&self) -> Result<()> {
        if self.processes().is_empty() { Ok(()) } else { self.signal_all(KILL) }
    }

    fn signal_all(&self, signal: u8) -> Result<()> {
        if signal == KILL && self.cgroups.kill() {
            return Ok(());
        }
        // Nobody starts another meanwhile.
        let frozen = signal != KILL || self.cgroups.is_frozen() || self.cgroups.freeze().is_err();
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        for pid in self.processes().into_iter().filter(|pid| *pid != own) {
            let pid = rustix::process::Pid::from_raw(pid);
            let flags = rustix::process::PidfdFlags::empty();
            let opened = pid.map(|pid| rustix::process::pidfd_open(pid, flags));
            if let Some(Ok(process)) = opened {
                match send(process.as_fd(), signal) {
                    Err(Error::NotRunning) => {}
                    sent => sent?,
                }
            }
        }
        if signal == KILL || !frozen { self.cgroups.thaw() } else { Ok(()) }
    }
}
