//! Further processes in a running container.

use std::{os::fd::AsFd as _, sync::Arc, thread};

use rustix::thread::ThreadNameSpaceType;
use silo_isolation::{Bundle, Error, ExecProcess, Exit, Process, Result, Signal, Stdio, Terminal};

use crate::{
    backend::{GuestEnds, open_processes},
    cgroup::Cgroup,
    child::Joining,
    explain::{self, Explain},
    facts::Facts,
    guest::{self, Guest},
    plan::{Namespaces, ProcessPlan},
    policy::Policy,
    protocol,
    sys::{self, Cloned, Where},
    terminal::Pty,
};

/// A process beside a container's first.
#[derive(Debug)]
struct Joined(Arc<Guest>);

impl Joined {
    /// Has the process reaped as soon as it ends, whether or not its owner waits: the first process
    /// of a pid namespace is not gone before all others are.
    fn new(guest: Guest) -> Result<Self> {
        let guest = Arc::new(guest);
        let process = Arc::clone(&guest);
        thread::Builder::new()
            .name("exec-reaper".to_owned())
            .stack_size(64 << 10)
            .spawn(move || process.wait())
            .map_err(|source| Error::Step {
                step: "start a thread to wait for the process".to_owned(),
                source: Box::new(source),
            })?;
        Ok(Self(guest))
    }
}

/// Runs `process` in the sandbox whose first process is `first`.
pub(crate) fn join(
    first: &Guest,
    cgroup: &Cgroup,
    facts: &Facts,
    bundle: &Bundle,
    namespaces: Namespaces,
    process: &Process,
    stdio: Stdio,
) -> Result<Box<dyn ExecProcess>> {
    let plan = ProcessPlan::new(process, bundle, facts, Policy::of(&bundle.security)?)?;
    let cgroups = cgroup.entries()?;
    let ends = GuestEnds::new(stdio)?;
    ends.give_to(plan.identity.user, facts.ids);
    let processes = open_processes(&plan)?;
    let connect = || explain::step("connect to the container");
    let (setup, end) = protocol::connect().map_err(connect())?;
    let (helping, helpers_end) = protocol::connect_helper().map_err(connect())?;
    let joining = Joining {
        plan: &plan,
        streams: ends.streams(),
        first: first.process().pidfd.as_fd(),
        namespaces: ThreadNameSpaceType::from_bits_retain(namespaces.0),
        cgroups: &cgroups,
        processes: processes.as_ref().map(|directory| directory.as_fd()),
        helpers_end: &helpers_end,
        end: &end,
        parents_end: &setup,
    };
    let helper = sys::clone(Where::Helper, || joining.run())
        .map_err(explain::step("clone a helper to enter the container"))?;
    let helper = Guest::new(helper, String::new(), None);
    // Until it has ended, the helper uses this process's descriptors: none may be closed.
    helper.wait()?;
    drop((helpers_end, end, ends, cgroups, processes));
    let explain = Explain { plan: None, facts };
    let pidfd = helping.made().map_err(|broken| explain.broken(broken));
    let process = Cloned { pid: 0, pidfd: sys::adopt(pidfd?) };
    let program = &plan.program;
    let guest = Guest::new(process, program.name.clone(), program.path.clone());
    let (waiting, master) = setup.ready().map_err(|broken| explain.broken(broken))?;
    let guest = guest.waiting(waiting, master.map(Pty::new));
    guest.start()?;
    Joined::new(guest).map(|joined| Box::new(joined) as Box<dyn ExecProcess>)
}

impl ExecProcess for Joined {
    fn signal(&self, signal: Signal) -> Result<()> {
        self.0.signal(signal)
    }

    fn wait(&self) -> Result<Exit> {
        Ok(guest::exit(self.0.wait()?, || false))
    }

    fn terminal(&self) -> Option<&dyn Terminal> {
        self.0.terminal().map(|terminal| terminal as &dyn Terminal)
    }
}
