//! A running container.

use std::{
    fs,
    sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard},
};

use silo_isolation::{
    Adjust, Bundle, Error, Exec, ExecProcess, Exit, Limits, LiveFiles, Pause, Process, Processes,
    Result, Sandbox, Signal, Stats, Stdio, Terminal,
};
use silo_layers::copy::GuestFiles;

use crate::{
    cgroup::{self, Cgroup, Freezer, Hierarchy},
    exec,
    facts::Facts,
    files,
    guest::{self, Guest},
    plan::Namespaces,
    record::{self, Record, in_namespace_of, stat_field},
};

/// One container, from `create` to `delete`.
#[derive(Debug)]
pub(crate) struct LinuxSandbox {
    // Fields are dropped in this order: a cgroup can be removed once its processes are gone.
    guest: Guest,
    cgroup: RwLock<Cgroup>,
    /// Once it was paused.
    freezer: OnceLock<Freezer>,
    facts: Facts,
    namespaces: Namespaces,
    bundle: Bundle,
}

impl LinuxSandbox {
    pub(crate) fn new(
        guest: Guest,
        cgroup: Cgroup,
        bundle: &Bundle,
        facts: Facts,
        namespaces: Namespaces,
    ) -> Self {
        let (cgroup, bundle) = (RwLock::new(cgroup), bundle.clone());
        Self { guest, cgroup, freezer: OnceLock::new(), facts, namespaces, bundle }
    }
}

impl LinuxSandbox {
    fn cgroup(&self) -> RwLockReadGuard<'_, Cgroup> {
        self.cgroup.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sandbox for LinuxSandbox {
    fn start(&self) -> Result<()> {
        self.guest.start()
    }

    fn pid(&self) -> Option<u32> {
        u32::try_from(self.guest.pid()).ok()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.guest.signal(signal)?;
        // What is frozen by version 1 does not end, whatever it was sent.
        if signal == Signal::KILL { self.resume() } else { Ok(()) }
    }

    fn wait(&self) -> Result<Exit> {
        Ok(guest::exit(self.guest.wait()?, || self.cgroup().oom_killed()))
    }

    fn stats(&self) -> Result<Stats> {
        let mut stats = self.cgroup().stats();
        let processes = match self.cgroup().processes() {
            found if found.is_empty() => vec![self.guest.pid()],
            found => found,
        };
        stats.pids = stats.pids.or_else(|| u64::try_from(processes.len()).ok());
        stats.memory = stats.memory.or_else(|| sum(&processes, resident));
        stats.cpu_nanos = stats.cpu_nanos.or_else(|| sum(&processes, cpu_nanos));
        Ok(stats)
    }

    fn delete(self: Box<Self>) -> Result<()> {
        self.signal(Signal::KILL)?;
        let Self { guest, cgroup, freezer, bundle, .. } = *self;
        guest.end()?;
        if let Some(freezer) = freezer.get() {
            freezer.remove()?;
        }
        cgroup.into_inner().unwrap_or_else(PoisonError::into_inner).remove()?;
        record::forget(&bundle.state_dir)
    }

    fn exec(&self) -> Option<&dyn Exec> {
        Some(self)
    }

    fn terminal(&self) -> Option<&dyn Terminal> {
        self.guest.terminal().map(|terminal| terminal as &dyn Terminal)
    }

    fn files(&self) -> Option<&dyn LiveFiles> {
        Some(self)
    }

    fn limits(&self) -> Option<&dyn Adjust> {
        Some(self)
    }

    fn pause(&self) -> Option<&dyn Pause> {
        Freezer::of(&self.cgroup()).is_some().then_some(self as &dyn Pause)
    }

    fn processes(&self) -> Option<&dyn Processes> {
        Some(self)
    }
}

impl Processes for LinuxSandbox {
    fn pids(&self) -> Result<Vec<u32>> {
        if !self.guest.is_there()? {
            return Ok(Vec::new());
        }
        let found = match self.cgroup().processes() {
            found if found.is_empty() => in_namespace_of(self.guest.pid()),
            found => found,
        };
        Ok(found.into_iter().filter_map(|pid| u32::try_from(pid).ok()).collect())
    }
}

impl LiveFiles for LinuxSandbox {
    fn open(&self) -> Result<Box<dyn GuestFiles>> {
        files::open(&self.guest, self.facts.ids)
    }
}

impl Pause for LinuxSandbox {
    fn pause(&self) -> Result<()> {
        let cgroup = self.cgroup();
        let Some(freezer) = Freezer::of(&cgroup) else {
            return Err(Error::Unsupported { what: "no cgroup can freeze it".to_owned() });
        };
        self.freezer.get_or_init(|| freezer).freeze(&cgroup)
    }

    fn resume(&self) -> Result<()> {
        self.freezer.get().map_or(Ok(()), Freezer::thaw)
    }
}

impl Adjust for LinuxSandbox {
    fn adjust(&self, limits: &Limits) -> Result<()> {
        let detected;
        let hierarchy = if let Some(hierarchy) = &self.facts.cgroups {
            hierarchy
        } else {
            detected = Hierarchy::detect().map_err(|what| Error::Unsupported { what })?;
            &detected
        };
        let devices = &self.facts.devices;
        // Which devices it may open stays as it is.
        let wanted = cgroup::directories(&self.bundle.id, limits, Some(hierarchy), devices, None);
        let mut cgroup = self.cgroup.write().unwrap_or_else(PoisonError::into_inner);
        let mut record = Record::open(&self.bundle.state_dir)?;
        cgroup.adjust(&wanted, |path| record.cgroup(path))
    }
}

impl Exec for LinuxSandbox {
    fn exec(&self, process: &Process, stdio: Stdio) -> Result<Box<dyn ExecProcess>> {
        if !self.guest.is_started() {
            return Err(Error::WrongState { state: "not started" });
        }
        let Self { guest, facts, bundle, namespaces, .. } = self;
        exec::join(guest, &self.cgroup(), facts, bundle, *namespaces, process, stdio)
    }
}

/// The sum over the processes that are still there; `None` when none is.
fn sum(processes: &[i32], figure: impl Fn(i32) -> Option<u64>) -> Option<u64> {
    processes.iter().filter_map(|&pid| figure(pid)).reduce(u64::saturating_add)
}

/// Resident memory in bytes, shared pages counted in each process.
fn resident(pid: i32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

/// Processor time of a process and of its children that were waited for: fields 14 to 17.
fn cpu_nanos(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks: u64 = (14..=17).filter_map(|number| stat_field(&stat, number)).sum();
    Some(ticks.saturating_mul(1_000_000_000 / rustix::param::clock_ticks_per_second().max(1)))
}
