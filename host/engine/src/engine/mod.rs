//! The engine: the verbs.

mod copy;
mod create;
mod files;
mod health;
mod step;
mod update;
mod watch;

pub use step::BoundSession;
pub(crate) use update::changed;

use std::{path::Path, sync::Arc, time::Duration};

use silo_isolation::{IsolationBackend, Process, Signal, Stats};
use silo_layers::Store;

use crate::{
    Attach, Container, CreateOptions, Error, ExecOptions, Launch, Listing, Result, Session, State,
    Status, Summary,
    client::{self, Connection, is_gone},
    endpoint::Endpoint,
    names,
    protocol::{Reply, Request},
    state::{Containers, Durability, Lock, Probe, remove_tree, short},
};

/// What the user could do about a container in the wrong state.
const START_IT: &str = "start it first: `silo start`";
const RUNS_ALREADY: &str = "it runs already; `silo logs -f` shows its output";
const UNPAUSE_IT: &str = "let it go on: `silo unpause`";
const STOP_IT: &str = "stop it first (`silo stop`), or remove it with -f";

/// What ends a container at once.
const KILL: Request = Request::Stop { signal: Signal::KILL, timeout: Duration::MAX, keep: false };

/// What is told of a container that cannot be attached to for it does not run.
const STOPPED: Error = Error::CannotAttach { state: "stopped", first: "start" };

/// The exit code of a container whose supervisor died: that of a KILL, which ended the guest.
const LOST: u8 = 137;

/// The containers and images of one root, and the backends that run them.
pub struct Engine {
    store: Store,
    containers: Containers,
    backends: Vec<Arc<dyn IsolationBackend>>,
    launch: Box<dyn Launch>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("root", &self.containers.root()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the root, which is made where it does not exist, and removes what killed processes
    /// left of containers in the making, in renaming or in removal. Images of several platforms run
    /// on the first of `backends` that can; `launch` starts supervisors.
    pub fn open(
        root: &Path,
        backends: Vec<Arc<dyn IsolationBackend>>,
        launch: Box<dyn Launch>,
    ) -> Result<Self> {
        // The store refuses to be made in a directory that holds other things.
        let store = Store::open(root)?;
        let containers = Containers::open(store.root())?;
        let engine = Self { store, containers, backends, launch };
        engine.remove_orphans();
        // Nobody asked for this; who renames tells what is wrong with it.
        let _ = engine.containers.settle_renaming();
        Ok(engine)
    }

    /// The images.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The backends, in the order of preference.
    #[must_use]
    pub fn backends(&self) -> &[Arc<dyn IsolationBackend>] {
        &self.backends
    }

    /// Creates a container and starts it. A container that cannot be started stays, unless it
    /// was to be removed at its end.
    pub fn run(&self, options: &CreateOptions, attach: Attach) -> Result<Session> {
        let (id, ingredients) = (names::random_id()?, self.gather(options)?);
        // It comes up beside the container's making.
        let backend = ingredients.backend.name();
        let supervisor = client::supervisor(&*self.launch, &self.containers, &id, backend)?;
        // Nobody hears of such a container before it ends, and its end is the end of it.
        let durability =
            if options.auto_remove { Durability::Volatile } else { Durability::Synced };
        let container = self.create_of(ingredients, id, options, durability)?;
        supervisor.start(attach).inspect_err(|_| self.clear(&container.id))
    }

    /// Starts a container that does not run.
    pub fn start(&self, query: &str, attach: Attach) -> Result<Session> {
        let summary = self.inspect(query)?;
        match summary.state.status {
            Status::Running => return Err(wrong_state(&summary, RUNS_ALREADY)),
            Status::Paused => return Err(wrong_state(&summary, UNPAUSE_IT)),
            Status::Created | Status::Exited => {}
        }
        let (id, backend) = (&summary.container.id, &summary.container.backend);
        let supervisor = client::supervisor(&*self.launch, &self.containers, id, backend)?;
        supervisor.start(attach).inspect_err(|_| self.clear(id))
    }

    /// Takes part in the streams of a container that runs, from now on.
    pub fn attach(&self, query: &str, attach: Attach) -> Result<Session> {
        let Container { id, interactive, .. } = &self.attachable(query)?;
        let stdin = attach.stdin && *interactive;
        let mut connection = self.connect(id)?.ok_or(STOPPED)?;
        match connection.ask(&Request::Attach(Attach { stdin, ..attach }))? {
            Some(Reply::Failed(failure)) => Err(failure.into()),
            Some(_) => Ok(connection.into_session(id, self.endpoint(id), None)),
            None => Err(STOPPED),
        }
    }

    /// A container that can be attached to.
    pub fn attachable(&self, query: &str) -> Result<Container> {
        let Summary { container, state } = self.inspect(query)?;
        match state.status {
            Status::Running => Ok(container),
            Status::Paused => Err(Error::CannotAttach { state: "paused", first: "unpause" }),
            Status::Created | Status::Exited => Err(STOPPED),
        }
    }

    /// Clears away what a supervisor left that died before its guest ran.
    fn clear(&self, id: &str) {
        let Ok(Probe::Taken(lock)) = Lock::try_take(&self.containers.lock_path(id)) else { return };
        // Its death is what to tell; `system check` finds what this leaves.
        let _ = match self.containers.durability(id) {
            Durability::Volatile => self.remove_remains(id, lock),
            Durability::Synced => self.endpoint(id).remove(),
        };
    }

    /// All containers. What cannot be read of one does not hide the others.
    pub fn list(&self) -> Result<Listing> {
        let mut listing = Listing::default();
        for id in self.containers.ids()? {
            match self.refresh(&id) {
                Ok(summary) => listing.containers.push(summary),
                // It has been removed meanwhile.
                Err(Error::NotFound(_)) => {}
                Err(error) => listing.damaged.push(error),
            }
        }
        listing.containers.sort_by(|a, b| {
            (b.container.created, &b.container.id).cmp(&(a.container.created, &a.container.id))
        });
        Ok(listing)
    }

    /// One container and how it fares.
    pub fn inspect(&self, query: &str) -> Result<Summary> {
        let id = self.containers.find(query)?;
        self.refresh(&id)
    }

    /// Waits until a container has ended and returns its exit code. One that was never
    /// started is not waited for.
    pub fn wait(&self, query: &str) -> Result<u8> {
        let summary = self.inspect(query)?;
        let id = &summary.container.id;
        if summary.state.status == Status::Created {
            return Err(wrong_state(&summary, START_IT));
        }
        if summary.state.status.is_live()
            && let Some(mut connection) = self.connect(id)?
            && let Some(Reply::Exited(exit)) = connection.ask(&Request::Wait)?
        {
            return Ok(exit.code());
        }
        let state = self.after_the_end(id)?;
        Ok(state.exit_code.unwrap_or(LOST))
    }

    /// Ends a container: first by `signal`, else by its stop signal; after `timeout` by KILL. One
    /// that does not run is stopped.
    pub fn stop(&self, query: &str, signal: Option<Signal>, timeout: Duration) -> Result<()> {
        let summary = self.inspect(query)?;
        let signal = signal.unwrap_or(summary.container.stop_signal);
        self.end(&summary, &Request::Stop { signal, timeout, keep: false })
    }

    /// Ends a container as [`stop`](Self::stop) does and starts it again, be it that it was to be
    /// removed at its end.
    pub fn restart(&self, query: &str, signal: Option<Signal>, timeout: Duration) -> Result<()> {
        let summary = self.inspect(query)?;
        let signal = signal.unwrap_or(summary.container.stop_signal);
        self.end(&summary, &Request::Stop { signal, timeout, keep: true })?;
        let root = &summary.container.bundle.root;
        if root.volatile && summary.state.status.is_live() {
            // overlayfs takes what it mounted so only once, lest a crash go unnoticed
            // (overlayfs.rst, "Volatile mount"). There was none since.
            remove_tree(&root.snapshot.work.join("work"))?;
        }
        self.start(&summary.container.id, Attach::NONE).map(drop)
    }

    /// Sends a signal to a container that runs.
    pub fn kill(&self, query: &str, signal: Signal) -> Result<()> {
        let summary = self.inspect(query)?;
        if signal == Signal::KILL && summary.state.status.is_live() {
            // There is nothing to wait for but the end.
            return self.end(&summary, &KILL);
        }
        if self.ask(&summary, &Request::Signal { session: None, signal })?.is_none() {
            return self.after_the_end(&summary.container.id).map(drop);
        }
        if summary.state.status == Status::Paused && signal == summary.container.stop_signal {
            // What asks it to end is not to wait; others arrive when it goes on.
            self.ask(&summary, &Request::Unpause)?;
        }
        Ok(())
    }

    /// Lets a running container stand still until it is unpaused.
    pub fn pause(&self, query: &str) -> Result<()> {
        let summary = self.inspect(query)?;
        let name = || summary.container.name.clone();
        self.ask_for_change(&summary, &Request::Pause, || Error::AlreadyPaused(name()))
    }

    /// Lets a paused container go on.
    pub fn unpause(&self, query: &str) -> Result<()> {
        let summary = self.inspect(query)?;
        let name = || summary.container.name.clone();
        self.ask_for_change(&summary, &Request::Unpause, || Error::NotPaused(name()))
    }

    fn ask_for_change(
        &self,
        summary: &Summary,
        request: &Request,
        unchanged: impl FnOnce() -> Error,
    ) -> Result<()> {
        match self.ask(summary, request)? {
            Some(Reply::Unchanged) => Err(unchanged()),
            Some(_) => Ok(()),
            None => Err(wrong_state(&self.inspect(&summary.container.id)?, START_IT)),
        }
    }

    /// Gives a container another name.
    pub fn rename(&self, query: &str, name: &str) -> Result<()> {
        names::validate(name)?;
        let container = self.inspect(query)?.container;
        if container.name == name {
            return Err(Error::invalid("container name", name, "it is the container's already"));
        }
        self.containers.rename(&container.id, name)
    }

    /// What a running container uses.
    pub fn stats(&self, query: &str) -> Result<Stats> {
        let summary = self.inspect(query)?;
        match self.ask(&summary, &Request::Stats)? {
            Some(Reply::Stats(stats)) => Ok(stats),
            _ => Err(Error::SupervisorLost(summary.short_id().to_owned())),
        }
    }

    /// The numbers of a running container's processes on the host.
    pub fn processes(&self, query: &str) -> Result<Vec<u32>> {
        let summary = self.inspect(query)?;
        let backend = || summary.container.backend.clone();
        match self.ask(&summary, &Request::Processes)? {
            Some(Reply::Processes(Some(pids))) => Ok(pids),
            Some(Reply::Processes(None)) => {
                Err(Error::NotOffered { backend: backend(), what: "tell a container's processes" })
            }
            _ => Err(Error::SupervisorLost(summary.short_id().to_owned())),
        }
    }

    /// Runs a process in a running container.
    pub fn exec(&self, query: &str, options: &ExecOptions) -> Result<Session> {
        let summary = self.inspect(query)?;
        let id = &summary.container.id;
        if summary.state.status == Status::Paused {
            return Err(Error::Paused { name: summary.container.name, before: "exec" });
        }
        if !summary.state.status.is_live() {
            return Err(wrong_state(&summary, START_IT));
        }
        let process: Process = crate::bundle::exec_process(&summary.container.bundle, options)?;
        let request =
            Request::Exec { process, interactive: options.interactive, size: options.size };
        let lost = || Error::SupervisorLost(summary.short_id().to_owned());
        let mut connection = self.connect(id)?.ok_or_else(lost)?;
        match connection.ask(&request)? {
            Some(Reply::Started { session }) => {
                Ok(connection.into_session(id, self.endpoint(id), session))
            }
            Some(Reply::Failed(failure)) => Err(failure.into()),
            _ => Err(lost()),
        }
    }

    /// Removes a container; `force` ends it first where it runs, and removes it even where its
    /// record cannot be read.
    pub fn remove(&self, query: &str, force: bool) -> Result<()> {
        let id = self.containers.find(query)?;
        let summary = match self.refresh(&id) {
            Ok(summary) => summary,
            Err(Error::Corrupt { .. }) if force => return self.remove_damaged(&id),
            Err(error) => return Err(error),
        };
        if summary.state.status.is_live() {
            if !force {
                return Err(wrong_state(&summary, STOP_IT));
            }
            self.end(&summary, &KILL)?;
        }
        match Lock::try_take(&self.containers.lock_path(&id))? {
            Probe::Taken(lock) if self.containers.is_published(&id) => {
                // A supervisor that was killed before it wrote that it runs leaves it.
                self.endpoint(&id).remove()?;
                self.containers.remove(&summary.container, lock)
            }
            Probe::Held => Err(Error::Busy(summary.container.name)),
            // It has removed itself at its end.
            Probe::Taken(_) | Probe::Absent => Ok(()),
        }
    }

    fn remove_damaged(&self, id: &str) -> Result<()> {
        match Lock::try_take(&self.containers.lock_path(id))? {
            Probe::Taken(lock) => self.remove_remains(id, lock),
            _ => Err(Error::Busy(short(id).to_owned())),
        }
    }

    /// Every backend is asked, as nobody knows whose it was.
    fn remove_remains(&self, id: &str, lock: Lock) -> Result<()> {
        for backend in &self.backends {
            backend.reclaim(id, &self.containers.state_directory(id))?;
        }
        self.endpoint(id).remove()?;
        self.containers.remove_damaged(id, lock)
    }

    fn endpoint(&self, id: &str) -> Endpoint {
        Endpoint::new(self.containers.root(), id)
    }

    /// A connection to the supervisor, or `None` where that has gone or is going.
    fn connect(&self, id: &str) -> Result<Option<Connection>> {
        match Connection::open(&self.endpoint(id)) {
            Ok(connection) => Ok(Some(connection)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(source) => Err(Error::Supervisor { step: "reach the supervisor", source }),
        }
    }

    /// Asks the supervisor of a running container; `None` where the container ended first.
    fn ask(&self, summary: &Summary, request: &Request) -> Result<Option<Reply>> {
        if !summary.state.status.is_live() {
            return Err(wrong_state(summary, START_IT));
        }
        let Some(mut connection) = self.connect(&summary.container.id)? else { return Ok(None) };
        match connection.ask(request)? {
            Some(Reply::Failed(failure)) => Err(failure.into()),
            reply => Ok(reply),
        }
    }

    /// Asks for a container's end and waits for it.
    fn end(&self, summary: &Summary, request: &Request) -> Result<()> {
        if !summary.state.status.is_live() {
            return Ok(());
        }
        if self.ask(summary, request)?.is_none() {
            match self.after_the_end(&summary.container.id) {
                // It was removed at its end.
                Err(Error::NotFound(_)) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// How a container fares once its supervisor is gone, which is waited for.
    fn after_the_end(&self, id: &str) -> Result<State> {
        drop(Lock::wait(&self.containers.lock_path(id))?);
        self.refresh(id).map(|summary| summary.state)
    }

    /// What is known of a container, after putting right what a dead supervisor left.
    fn refresh(&self, id: &str) -> Result<Summary> {
        let container = self.unless_torn(id, self.containers.load(id))?;
        let state = self.unless_torn(id, self.containers.load_state(id))?;
        if !state.status.is_live() {
            return Ok(Summary { container, state });
        }
        match Lock::try_take(&self.containers.lock_path(id))? {
            Probe::Held => Ok(Summary { container, state }),
            Probe::Absent => Err(Error::NotFound(short(id).to_owned())),
            Probe::Taken(lock) => self.reclaim(container, lock),
        }
    }

    /// What was read of a container. One that need not outlive a crash of the machine, and was
    /// damaged by one, goes.
    fn unless_torn<T>(&self, id: &str, read: Result<T>) -> Result<T> {
        match read {
            Err(Error::Corrupt { .. })
                if self.containers.durability(id) == Durability::Volatile =>
            {
                self.remove_damaged(id)?;
                Err(Error::NotFound(short(id).to_owned()))
            }
            read => read,
        }
    }

    /// Takes over a container whose lock was free although its state said it runs.
    fn reclaim(&self, container: Container, lock: Lock) -> Result<Summary> {
        // It may have ended in order since the state was read.
        let mut state = self.containers.load_state(&container.id)?;
        if !self.containers.is_published(&container.id) {
            return Err(Error::NotFound(short(&container.id).to_owned()));
        }
        if !state.status.is_live() {
            return Ok(Summary { container, state });
        }
        let backend = crate::backend(&self.backends, &container.backend)?;
        backend.reclaim(&container.id, &self.containers.state_directory(&container.id))?;
        self.endpoint(&container.id).remove()?;
        if container.auto_remove {
            self.containers.remove(&container, lock)?;
            return Err(Error::NotFound(short(&container.id).to_owned()));
        }
        state = State {
            status: Status::Exited,
            started: state.started,
            finished: Some(jiff::Timestamp::now()),
            exit_code: Some(LOST),
            error: Some("its supervisor ended unexpectedly".to_owned()),
            ..State::default()
        };
        self.containers.save_state(&container, &state)?;
        Ok(Summary { container, state })
    }
}

fn wrong_state(summary: &Summary, hint: &'static str) -> Error {
    Error::WrongState { name: summary.container.name.clone(), status: summary.state.status, hint }
}
