//! One guest's life.

pub(crate) mod program;
pub(crate) mod run;

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use silo_isolation::{
    Bundle, Error, Exit, ExitStatus, LiveFiles, Pause, Protocol, Publication, Result, Sandbox,
    Signal, Stats,
};
use silo_layers::copy::GuestFiles;
use wasmtime::{Engine, component::Component};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::{
    compile::{Compiler, step, was_module},
    guest::{self, Control, Guest, Memory, Pipes, Usage},
    http,
    network::{Grant, Net},
    vfs::{self, Vfs},
};

/// How long a guest that is ended may still be in an operation of the host that cannot be
/// broken off, such as writing to a full pipe.
const GRACE: Duration = Duration::from_millis(100);
/// How long a running guest is given to measure itself.
const MEASURE: Duration = Duration::from_millis(5);

/// Why a component cannot be started.
const NO_COMMAND: &str =
    "it exports neither wasi:cli/run, which starts a program, nor wasi:http/incoming-handler";
/// What a component exports that answers requests.
const HANDLER: &str = "wasi:http/incoming-handler@0.2";

/// A guest in this process.
struct WasiSandbox {
    engine: Engine,
    control: Arc<Control>,
    usage: Arc<Usage>,
    /// What the guest sees, which it and who copies share.
    vfs: Arc<Vfs>,
    ports: Vec<Publication>,
    life: Arc<Life>,
}

/// Where a guest is in its life, shared with its thread.
struct Life {
    phase: Mutex<Phase>,
    changed: Condvar,
}

enum Phase {
    Created(Box<Prepared>),
    Running,
    Ending { deadline: Instant, signal: Signal },
    Ended(Exit),
}

/// All that a guest needs to start.
pub(crate) struct Prepared {
    pub(crate) program: Program,
    pub(crate) guest: Guest,
    pub(crate) nano_cpus: Option<u64>,
}

/// A program whose imports are there.
#[derive(Clone)]
pub(crate) enum Program {
    /// One that runs and ends.
    Command(CommandPre<Guest>),
    /// One that answers requests.
    Service(ProxyPre<Guest>),
}

/// Compiles the program and puts the guest's world together.
pub(crate) fn create(
    compiler: &Compiler,
    bundle: &Bundle,
    pipes: Pipes,
) -> Result<Box<dyn Sandbox>> {
    let vfs = Arc::new(vfs::assemble(bundle)?);
    let name = &bundle.process.args[0];
    let program = program::find_composed(&vfs, &bundle.process, &bundle.components)?;
    let mut component = compiler.component(name, program.key.as_ref(), || program.read(&vfs))?;
    if is_service(&component) {
        let read = || program.read(&vfs);
        component = compiler.for_many(name, program.key.as_ref(), component, read)?;
    }
    let engine = component.engine();
    let net = Net::new(bundle, Grant::open(bundle)?);
    let listens = net.offers(Protocol::Tcp) && was_module(engine, &component);
    let pre = link(engine, &component, name, listens)?;
    if matches!(pre, Program::Service(_)) {
        http::check(name, &net)?;
    }
    let ports = net.publications();
    let control = Arc::<Control>::default();
    let usage = Arc::<Usage>::default();
    let memory = Memory::new(bundle.limits.memory, &usage);
    let prepared = Prepared {
        program: pre,
        guest: Guest::new(
            &bundle.process,
            Arc::clone(&vfs),
            pipes,
            memory,
            Arc::clone(&net),
            listens,
            &control,
        ),
        nano_cpus: bundle.limits.processor_time(),
    };
    let life =
        Life { phase: Mutex::new(Phase::Created(Box::new(prepared))), changed: Condvar::new() };
    let (engine, life) = (engine.clone(), Arc::new(life));
    Ok(Box::new(WasiSandbox { engine, control, usage, vfs, ports, life }))
}

/// Gives a component what it imports.
pub(crate) fn link(
    engine: &Engine,
    component: &Component,
    name: &str,
    listens: bool,
) -> Result<Program> {
    let linker = guest::linker(engine, component, listens).map_err(step("offer WASI"))?;
    let not_runnable = |reason| Error::ProgramNotRunnable { program: name.to_owned(), reason };
    let pre =
        linker.instantiate_pre(component).map_err(|error| not_runnable(format!("{error:#}")))?;
    let program = if is_service(component) {
        ProxyPre::new(pre).map(Program::Service)
    } else {
        CommandPre::new(pre).map(Program::Command)
    };
    program.map_err(|_| not_runnable(NO_COMMAND.to_owned()))
}

/// Whether a component answers requests.
fn is_service(component: &Component) -> bool {
    let kind = component.component_type();
    kind.exports(component.engine()).any(|(name, _)| name.starts_with(HANDLER))
}

impl Life {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records how the guest ended, once.
    fn end(&self, exit: Exit) {
        let mut phase = self.phase();
        if !matches!(*phase, Phase::Ended(_)) {
            *phase = Phase::Ended(exit);
            self.changed.notify_all();
        }
    }
}

/// Ends a life when the guest's thread is gone, whatever became of it.
struct EndOfThread(Arc<Life>);

impl Drop for EndOfThread {
    fn drop(&mut self) {
        let message = "the host failed while it ran the guest".to_owned();
        self.0.end(Exit::new(ExitStatus::Trapped(message)));
    }
}

/// Signals that end a guest: it has no way to handle them.
fn is_fatal(signal: Signal) -> bool {
    [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP, Signal::KILL].contains(&signal)
}

impl WasiSandbox {
    fn end(&self, signal: Signal) {
        let mut phase = self.life.phase();
        match &*phase {
            Phase::Created(_) => {
                *phase = Phase::Ended(Exit::new(ExitStatus::Signaled(signal)));
            }
            Phase::Running => {
                *phase = Phase::Ending { deadline: Instant::now() + GRACE, signal };
            }
            Phase::Ending { .. } | Phase::Ended(_) => return,
        }
        self.life.changed.notify_all();
        self.control.end(signal);
        self.engine.increment_epoch();
    }

    /// Has a running guest measure its processor time.
    fn measure(&self) {
        let before = self.control.cpu_nanos();
        let deadline = Instant::now() + MEASURE;
        self.engine.increment_epoch();
        while self.control.is_running()
            && self.control.cpu_nanos() == before
            && Instant::now() < deadline
        {
            thread::sleep(Duration::from_micros(100));
        }
    }
}

impl Sandbox for WasiSandbox {
    fn start(&self) -> Result<()> {
        let mut phase = self.life.phase();
        let prepared = match std::mem::replace(&mut *phase, Phase::Running) {
            Phase::Created(prepared) => prepared,
            other => {
                let state = if matches!(other, Phase::Ended(_)) { "stopped" } else { "running" };
                *phase = other;
                return Err(Error::WrongState { state });
            }
        };
        drop(phase);
        let (engine, control) = (self.engine.clone(), Arc::clone(&self.control));
        let (usage, life) = (Arc::clone(&self.usage), Arc::clone(&self.life));
        let end = EndOfThread(Arc::clone(&life));
        let guest = move || {
            let _end = end;
            let exit = run::run(*prepared, &engine, &control, &usage);
            life.end(exit);
        };
        let spawned = thread::Builder::new().name("guest".to_owned()).spawn(guest);
        spawned.map(drop).map_err(|error| Error::Step {
            step: "start the guest's thread".to_owned(),
            source: Box::new(error),
        })
    }

    /// The guest is a thread of the supervisor.
    fn pid(&self) -> Option<u32> {
        None
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let is_request = is_fatal(signal) && signal != Signal::KILL;
        if is_request && self.control.ask_to_end() {
            return Ok(());
        }
        if is_fatal(signal) {
            self.end(signal);
        }
        Ok(())
    }

    fn wait(&self) -> Result<Exit> {
        let mut phase = self.life.phase();
        loop {
            let left = match &*phase {
                Phase::Ended(exit) => return Ok(exit.clone()),
                Phase::Ending { deadline, signal } => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        let exit = Exit::new(ExitStatus::Signaled(*signal));
                        *phase = Phase::Ended(exit.clone());
                        self.life.changed.notify_all();
                        return Ok(exit);
                    }
                    Some(left)
                }
                Phase::Created(_) | Phase::Running => None,
            };
            let changed = &self.life.changed;
            phase = match left {
                None => changed.wait(phase).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    changed.wait_timeout(phase, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn ports(&self) -> Vec<Publication> {
        self.ports.clone()
    }

    fn stats(&self) -> Result<Stats> {
        let running = !matches!(*self.life.phase(), Phase::Created(_) | Phase::Ended(_));
        if running {
            self.measure();
        }
        Ok(Stats {
            memory: Some(if running { self.usage.bytes() } else { 0 }),
            cpu_nanos: Some(self.control.cpu_nanos()),
            pids: Some(u64::from(running)),
        })
    }

    fn delete(self: Box<Self>) -> Result<()> {
        self.end(Signal::KILL);
        self.wait().map(drop)
    }

    fn files(&self) -> Option<&dyn LiveFiles> {
        Some(self)
    }

    fn pause(&self) -> Option<&dyn Pause> {
        Some(self)
    }
}

impl LiveFiles for WasiSandbox {
    fn open(&self) -> Result<Box<dyn GuestFiles>> {
        Ok(Box::new(vfs::Shared(Arc::clone(&self.vfs))))
    }
}

impl Pause for WasiSandbox {
    fn pause(&self) -> Result<()> {
        self.control.pause();
        self.engine.increment_epoch();
        // What it does outside of its own code, such as writing to a full pipe, may last; it
        // stands still when it comes back from there.
        let deadline = Instant::now() + GRACE;
        while self.control.is_running() && Instant::now() < deadline {
            thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    fn resume(&self) -> Result<()> {
        self.control.resume();
        Ok(())
    }
}
