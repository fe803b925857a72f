//! The traits that a backend implements.

use std::{
    io::{PipeReader, PipeWriter, Read, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use silo_layers::{Platform, copy::GuestFiles};

use crate::{Bundle, Exit, Limits, Process, Publication, Refusal, Result, Signal};

/// Turns bundles into sandboxes. Stateless: what must outlast a call lives in the sandbox, or
/// in [`Bundle::state_dir`].
pub trait IsolationBackend: Send + Sync {
    /// The name that `--backend` takes.
    fn name(&self) -> &'static str;

    /// The platforms whose images it runs on this host, the preferred first.
    fn platforms(&self) -> Vec<Platform>;

    /// What stands between a guest and the host, the outermost first. For people to read.
    fn barriers(&self) -> Vec<Barrier>;

    /// Everything in `bundle` that this backend cannot honour here; empty when it is admitted.
    /// Touches nothing.
    fn admit(&self, bundle: &Bundle) -> Vec<Refusal>;

    /// Does what every sandbox needs, in a process that is about to make one and waits to be told
    /// which. Touches nothing of the host; what fails here fails in [`create`](Self::create), too.
    fn warm_up(&self) {}

    /// Makes the sandbox of an admitted bundle, ready to start. No instruction of the guest has
    /// run when it returns. On failure nothing is left behind.
    ///
    /// A program that is missing or cannot be run may be told here or by [`Sandbox::start`].
    fn create(&self, bundle: &Bundle, stdio: Stdio) -> Result<Box<dyn Sandbox>>;

    /// Removes what a dead process's sandbox left on the host, and ends what still runs of it.
    /// Nothing to do is success; so is doing it twice.
    fn reclaim(&self, id: &str, state_dir: &Path) -> Result<()>;
}

/// One thing that stands between a guest and the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barrier {
    /// Its name: `user namespace`, `seccomp`.
    pub name: String,
    /// What it keeps the guest from, in one clause.
    pub keeps: String,
}

/// Where a guest's standard streams go.
#[derive(Debug)]
pub enum Stdio {
    /// Pipes. The guest's end; `None` for stdin is an empty one.
    Pipes {
        /// What the guest reads.
        stdin: Option<PipeReader>,
        /// What it writes as its output.
        stdout: PipeWriter,
        /// What it writes as its errors.
        stderr: PipeWriter,
    },
    /// A terminal that the backend allocates and gives back by [`Sandbox::terminal`].
    Terminal(TerminalSize),
}

/// A terminal's size in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// One container as its backend holds it. Shared between threads: one waits while others signal.
pub trait Sandbox: Send + Sync {
    /// Lets the guest's first instruction run. Once.
    fn start(&self) -> Result<()>;

    /// The guest's process on the host, where it has one of its own.
    fn pid(&self) -> Option<u32>;

    /// Sends a signal to the guest. KILL always ends it; what others do is the guest's matter
    /// where it can handle signals, and where it cannot, TERM, INT, QUIT and HUP end it too.
    /// A guest that has ended already is success.
    fn signal(&self, signal: Signal) -> Result<()>;

    /// Waits for the guest to end. Every call after that returns the same.
    fn wait(&self) -> Result<Exit>;

    /// The ports of the host that lead to the guest, with those numbers that were left open in the
    /// bundle. The same from `create` on.
    fn ports(&self) -> Vec<Publication> {
        Vec::new()
    }

    /// What the guest uses now.
    fn stats(&self) -> Result<Stats>;

    /// Ends the guest if it still runs and removes the sandbox from the host. The snapshot and
    /// `state_dir` are the engine's and stay.
    fn delete(self: Box<Self>) -> Result<()>;

    /// More processes beside the guest's first, where the backend has that.
    fn exec(&self) -> Option<&dyn Exec> {
        None
    }

    /// The terminal, when the bundle asked for one.
    fn terminal(&self) -> Option<&dyn Terminal> {
        None
    }

    /// The guest's files while it runs, where the backend can show them.
    fn files(&self) -> Option<&dyn LiveFiles> {
        None
    }

    /// Letting the guest stand still, where the backend has that here.
    fn pause(&self) -> Option<&dyn Pause> {
        None
    }

    /// The guest's processes, where they are the host's, too.
    fn processes(&self) -> Option<&dyn Processes> {
        None
    }

    /// Changing the running guest's limits, where the backend can.
    fn limits(&self) -> Option<&dyn Adjust> {
        None
    }
}

/// Tells which processes of the host are a guest's.
pub trait Processes {
    /// Their numbers on the host, in no order: the guest's first process, all that it started, and
    /// those of [`Exec`]. None when the guest has ended.
    fn pids(&self) -> Result<Vec<u32>>;
}

/// Changes what a running guest may use up.
pub trait Adjust {
    /// Holds the guest to `limits` of memory, processors, processes and devices, which the backend
    /// has admitted; the others stay as they were. On failure all do.
    fn adjust(&self, limits: &Limits) -> Result<()>;
}

/// Shows a running guest's files.
pub trait LiveFiles {
    /// Opens them as the guest sees them, with all that is mounted in it. What is changed there the
    /// guest sees at once, and whatever it does meanwhile, nothing leads out of its root.
    ///
    /// What this returns is the caller's for as long as it likes: when the guest has ended, it shows
    /// what there was then.
    fn open(&self) -> Result<Box<dyn GuestFiles>>;
}

/// Lets a guest stand still. KILL ends it all the same.
pub trait Pause {
    /// Stops the guest wherever it is. When this returns it runs no instruction and changes no
    /// file. One that stands still already is success.
    fn pause(&self) -> Result<()>;

    /// Lets it go on. One that does not stand still is success.
    fn resume(&self) -> Result<()>;
}

/// What a guest uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Memory in use, in bytes.
    pub memory: Option<u64>,
    /// Processor time used so far, in nanoseconds.
    pub cpu_nanos: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// Runs further processes in a running sandbox.
pub trait Exec {
    /// Starts a process beside the guest's first, in the same isolation.
    fn exec(&self, process: &Process, stdio: Stdio) -> Result<Box<dyn ExecProcess>>;
}

/// A process that [`Exec::exec`] started. Shared between threads.
pub trait ExecProcess: Send + Sync {
    /// Sends it a signal.
    fn signal(&self, signal: Signal) -> Result<()>;

    /// Waits for it to end. Every call after that returns the same.
    fn wait(&self) -> Result<Exit>;

    /// Its terminal, when it asked for one.
    fn terminal(&self) -> Option<&dyn Terminal> {
        None
    }
}

/// The supervisor's end of a terminal.
pub trait Terminal {
    /// What the guest prints; reading ends when the guest's side is closed.
    fn output(&self) -> Result<Box<dyn Read + Send>>;

    /// What the guest reads as typed.
    fn input(&self) -> Result<Box<dyn Write + Send>>;

    /// Tells the guest a new size.
    fn resize(&self, size: TerminalSize) -> Result<()>;
}
