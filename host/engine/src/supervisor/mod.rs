//! The process beside each running container: it makes the sandbox, copies its streams, waits
//! for it and puts it away.
//!
//! ```text
//! lock ─ listen ─ "running" ─ create ─ start ─ copy ─ wait ─ delete ─ "exited" ─ tell ─ end
//!                 │ from here on a crash leaves something to reclaim │ nothing left
//!                 │                      │ single-threaded until here
//! ```
//!
//! It listens before its state says running: who reads that can connect, and is answered
//! when the guest has started.
//!
//! The first thread copies what the guest writes, then waits for its end. All others block, too:
//! one for the starter's stdin where that is attached, one that accepts connections, one for each
//! connection.

mod connections;
mod copies;
mod exec;
mod guest;
mod standstill;
mod streams;
mod update;

use std::{fs::File, path::Path, sync::Arc, thread::JoinHandle, time::Duration};

use interprocess::local_socket::Listener;
use jiff::Timestamp;
use silo_isolation::{Exit, ExitStatus, IsolationBackend, Sandbox, Signal, Stdio, TerminalSize};

use self::{
    connections::{Accepting, Closing},
    guest::{Guest, Input, Member, Peer},
    standstill::Note,
    streams::{Outputs, Streams},
    update::Record,
};
use crate::{
    Attach, Container, Error, Failure, Result, State, Status,
    endpoint::Endpoint,
    log::LogWriter,
    protocol::{self, Reply, Request},
    state::{Containers, Durability, Lock, Probe, short},
};

/// The size of a terminal whose client has none.
const DEFAULT_SIZE: TerminalSize = TerminalSize { rows: 24, columns: 80 };

/// Runs container `id` of the store at `root` to its end, in the process that
/// [`Launch`](crate::Launch) starts. Speaks with its starter over this process's stdin and stdout.
/// Errors have been told to the starter when it returns. The container is for the backend called
/// `backend`, as its starter knows before there is a container.
pub fn supervise(
    root: &Path,
    id: &str,
    backend: &str,
    backends: &[Arc<dyn IsolationBackend>],
) -> Result<()> {
    streams::leave_terminal();
    let (mut input, output) = streams::own_streams()?;
    let starter = Peer::new(Box::new(output));
    if let Ok(backend) = crate::backend(backends, backend) {
        backend.warm_up();
    }
    let (attach, bound) = match protocol::read(&mut input) {
        Ok(Some(Request::Start(attach))) => (attach, false),
        Ok(Some(Request::StartBound(attach))) => (attach, true),
        // It has given up, was killed, or is no starter.
        _ => return abandon(root, id),
    };
    let outcome = Supervisor::prepare(root, id, backends)
        .and_then(|supervisor| supervisor.run(&input, &starter, attach, bound));
    if let Err(error) = &outcome {
        // A starter that is gone needs no answer.
        let _ = starter.send(&Reply::Failed(Failure::from(error)));
    }
    outcome
}

/// Removes the container of a `run` that ended before its container started, if it was to be
/// removed at its end: nobody else would.
fn abandon(root: &Path, id: &str) -> Result<()> {
    let containers = Containers::open(root)?;
    let Probe::Taken(lock) = Lock::try_take(&containers.lock_path(id))? else { return Ok(()) };
    let is_volatile = containers.durability(id) == Durability::Volatile;
    if is_volatile && containers.load_state(id)?.status == Status::Created {
        containers.remove(&containers.load(id)?, lock)?;
    }
    Ok(())
}

/// A container whose lock is held, before its sandbox exists.
struct Supervisor {
    containers: Containers,
    lock: Lock,
    container: Container,
    state: State,
    backend: Arc<dyn IsolationBackend>,
    endpoint: Endpoint,
}

impl Supervisor {
    fn prepare(root: &Path, id: &str, backends: &[Arc<dyn IsolationBackend>]) -> Result<Self> {
        let containers = Containers::open(root)?;
        let lock = match Lock::try_take(&containers.lock_path(id))? {
            Probe::Taken(lock) => lock,
            Probe::Held => return Err(Error::Busy(short(id).to_owned())),
            Probe::Absent => return Err(Error::NotFound(short(id).to_owned())),
        };
        let container = containers.load(id)?;
        let state = containers.load_state(id)?;
        let backend = crate::backend(backends, &container.backend)?;
        let endpoint = Endpoint::new(containers.root(), id);
        Ok(Self { containers, lock, container, state, backend, endpoint })
    }

    /// From the listening socket to the last word.
    fn run(mut self, input: &File, starter: &Peer, attach: Attach, bound: bool) -> Result<()> {
        let guest = match self.start(attach) {
            Ok(started) => started.serve(input, starter, attach, bound),
            Err(error) => Err(error),
        };
        match guest {
            Ok(Serving { guest, outputs, accepting, bond }) => {
                let copied = outputs.copy(|stream, bytes| guest.output(stream, bytes));
                let exit = guest.wait();
                self.finish(&guest, accepting.close(), copied, exit, bond)
            }
            Err(error) => Err(self.give_up(error)),
        }
    }

    /// Makes the sandbox and starts its guest. Nothing is left of it on failure.
    fn start(&mut self, attach: Attach) -> Result<Started> {
        let listener = self.endpoint.listen()?;
        self.state = State {
            status: Status::Running,
            supervisor: Some(std::process::id()),
            started: self.state.started,
            ..State::default()
        };
        self.containers.save_state(&self.container, &self.state)?;
        let bundle = &self.container.bundle;
        let (stdio, streams) = if bundle.process.terminal {
            (Stdio::Terminal(attach.size.unwrap_or(DEFAULT_SIZE)), None)
        } else {
            let (stdio, streams) = streams::pipes(self.container.interactive)?;
            (stdio, Some(streams))
        };
        let sandbox = self.backend.create(bundle, stdio)?;
        match self.launch(&*sandbox, streams) {
            Ok(streams) => {
                let log = LogWriter::new(self.containers.log_path(&self.container.id));
                let timeout = self.container.bundle.limits.timeout;
                let typed_once = attach.stdin && !self.container.bundle.process.terminal;
                let input = if typed_once { Input::Once } else { Input::Open };
                let record = Record::new(
                    self.containers.clone(),
                    self.container.clone(),
                    Arc::clone(&self.backend),
                );
                let guest = Guest::new(sandbox, log, input, self.note(), record);
                Ok(Started { guest, streams, listener, timeout })
            }
            Err(error) => {
                // The first failure is the one to tell.
                let _ = sandbox.delete();
                Err(error)
            }
        }
    }

    /// Lets the guest run and writes that it does.
    fn launch(&mut self, sandbox: &dyn Sandbox, streams: Option<Streams>) -> Result<Streams> {
        let now = Timestamp::now();
        sandbox.start()?;
        self.state.started = Some(now);
        self.state.pid = sandbox.pid();
        self.state.ports = sandbox.ports();
        self.containers.save_state(&self.container, &self.state)?;
        match streams {
            Some(streams) => Ok(streams),
            None => streams::terminal(sandbox.terminal(), self.container.interactive),
        }
    }

    /// What writes how the container fares while its guest runs, but for its status as now.
    fn note(&self) -> Note {
        let (containers, container) = (self.containers.clone(), self.container.clone());
        let state = self.state.clone();
        Box::new(move |status| {
            containers.save_state(&container, &State { status, ..state.clone() })
        })
    }

    /// Puts away what could not be started, and returns why it could not.
    fn give_up(self, error: Error) -> Error {
        let put_away = || -> Result<()> {
            self.endpoint.remove()?;
            if self.container.auto_remove {
                return self.containers.remove(&self.container, self.lock);
            }
            let started = self.state.started;
            let state = State {
                status: if started.is_some() { Status::Exited } else { Status::Created },
                started,
                finished: started.map(|_| Timestamp::now()),
                exit_code: Some(error.exit_code()),
                error: Some(error.to_string()),
                ..State::default()
            };
            self.containers.save_state(&self.container, &state)
        };
        // What went wrong first is what to tell; `system check` finds what this leaves.
        let _ = put_away();
        error
    }

    /// Puts the ended guest away, writes how it ended and tells everyone who waits. Nothing of
    /// the store is held any more at the last word: whoever hears it can remove or start
    /// the container at once, or unmount the store's disk.
    fn finish(
        mut self,
        guest: &Guest,
        socket: Closing,
        copied: Result<()>,
        exit: Result<Exit, silo_isolation::Error>,
        bond: Option<JoinHandle<()>>,
    ) -> Result<()> {
        let mut errors: Vec<String> = copied.err().iter().map(ToString::to_string).collect();
        let exit = exit.unwrap_or_else(|error| {
            errors.push(error.to_string());
            Exit::new(ExitStatus::Signaled(Signal::KILL))
        });
        let trap = match &exit.status {
            ExitStatus::Trapped(why) => Some(format!("silo: the program trapped: {why}\n")),
            _ => None,
        };
        errors.extend(guest.put_away(trap.as_deref()).into_iter().map(|error| error.to_string()));
        self.state = State {
            status: Status::Exited,
            started: self.state.started,
            finished: Some(Timestamp::now()),
            exit_code: Some(exit.code()),
            exit: Some(exit.clone()),
            error: (!errors.is_empty()).then(|| errors.join("; ")),
            ..State::default()
        };
        if let Some(bond) = bond {
            // Its files are its starter's to look at until that lets go of it.
            guest.tell_end(exit.clone());
            let _ = bond.join();
        }
        let written = self.endpoint.remove().and_then(|()| {
            if self.container.auto_remove && !guest.is_kept() {
                self.containers.remove(&self.container, self.lock)
            } else {
                let saved = self.containers.save_state(&self.container, &self.state);
                drop(self.lock);
                saved
            }
        });
        socket.wait();
        guest.tell_end(exit);
        written
    }
}

/// A guest that runs and that nobody watches yet.
struct Started {
    guest: Guest,
    streams: Streams,
    listener: Listener,
    timeout: Option<Duration>,
}

/// A guest that runs, and what is left to do for it on this thread.
struct Serving {
    guest: Arc<Guest>,
    outputs: Outputs,
    accepting: Accepting,
    /// Ends with the starter, where the container does.
    bond: Option<JoinHandle<()>>,
}

impl Started {
    /// Starts the threads that serve it. On failure the guest is ended and put away.
    fn serve(self, input: &File, starter: &Peer, attach: Attach, bound: bool) -> Result<Serving> {
        let guest = Arc::new(self.guest);
        guest.set_stdin(self.streams.input);
        // Before the first output. A starter that is gone is no reason to end a guest.
        let _ = starter.send(&Reply::Started { session: None });
        guest.join(Member::attached(starter.clone(), attach));
        let serve = || {
            let accepting = connections::accept(&guest, self.listener)?;
            if let Some(limit) = self.timeout {
                guest::end_after(&guest, limit)?;
            }
            if attach.stdin {
                connections::read_starter(&guest, input, starter)?;
            }
            let bond = bound.then(|| connections::watch_starter(&guest, input)).transpose()?;
            Ok((accepting, bond))
        };
        match serve() {
            Ok((accepting, bond)) => {
                Ok(Serving { guest, outputs: self.streams.outputs, accepting, bond })
            }
            Err(error) => {
                // The first failure is the one to tell.
                let _ = guest.put_away(None);
                Err(error)
            }
        }
    }
}
