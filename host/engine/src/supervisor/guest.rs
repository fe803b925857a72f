//! A running guest as the supervisor's threads share it.

use std::{
    io::{self, Write},
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use silo_isolation::{Error as BackendError, Exit, Sandbox, Signal};

use super::{
    copies::Copies,
    exec::Sessions,
    standstill::{Note, Standstill},
    streams::spawn,
    update::Record,
};
use crate::{
    Attach, Result, Stream,
    log::LogWriter,
    protocol::{self, Reply},
};

/// Locks that a panicking thread left are used on: what they guard is consistent at every step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(super) struct Peer(Arc<Mutex<Box<dyn Write + Send>>>);

impl Peer {
    pub(super) fn new(writer: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(writer)))
    }

    pub(super) fn send(&self, reply: &Reply) -> io::Result<()> {
        protocol::write(&mut **lock(&self.0), reply)
    }
}

/// A peer that hears of the guest's end, and perhaps of its output.
#[derive(Clone)]
pub(super) struct Member {
    peer: Peer,
    attach: Attach,
}

impl Member {
    /// One that sees output.
    pub(super) const fn attached(peer: Peer, attach: Attach) -> Self {
        Self { peer, attach }
    }

    /// One that waits for the end.
    pub(super) const fn waiting(peer: Peer) -> Self {
        Self::attached(peer, Attach::NONE)
    }

    const fn wants(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.attach.stdout,
            Stream::Stderr => self.attach.stderr,
        }
    }
}

/// Whether what a guest has to read ends with who types it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Its starter types it, and nobody after it.
    Once,
    /// Others come and go; or it is a terminal, which has no end.
    Open,
}

/// The guest.
pub(super) struct Guest {
    /// Taken when it is deleted.
    sandbox: RwLock<Option<Box<dyn Sandbox>>>,
    stdin: Mutex<Option<Box<dyn Write + Send>>>,
    input: Input,
    log: Mutex<LogWriter>,
    log_grown: Condvar,
    members: Mutex<Vec<Member>>,
    ended: Mutex<bool>,
    /// Whether its container stays whatever was said of its end.
    kept: AtomicBool,
    has_ended: Condvar,
    /// Who wants it to stand still.
    pub(super) standstill: Mutex<Standstill>,
    /// Processes beside the first.
    pub(super) sessions: Sessions,
    /// Copies from and to its files.
    pub(super) copies: Copies,
    /// What the container is.
    pub(super) record: Record,
}

impl Guest {
    pub(super) fn new(
        sandbox: Box<dyn Sandbox>,
        log: LogWriter,
        input: Input,
        note: Note,
        record: Record,
    ) -> Self {
        Self {
            sandbox: RwLock::new(Some(sandbox)),
            stdin: Mutex::new(None),
            input,
            log: Mutex::new(log),
            log_grown: Condvar::new(),
            members: Mutex::default(),
            ended: Mutex::new(false),
            kept: AtomicBool::new(false),
            has_ended: Condvar::new(),
            standstill: Mutex::new(Standstill::new(note)),
            sessions: Sessions::default(),
            copies: Copies::default(),
            record,
        }
    }

    /// What `act` does with the sandbox, which exists until the guest has ended.
    pub(super) fn with_sandbox<T>(
        &self,
        act: impl FnOnce(&dyn Sandbox) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let sandbox = self.sandbox.read().unwrap_or_else(PoisonError::into_inner);
        match sandbox.as_deref() {
            Some(sandbox) => act(sandbox),
            None => Err(BackendError::WrongState { state: "stopped" }),
        }
    }

    /// Waits for its end.
    pub(super) fn wait(&self) -> Result<Exit, BackendError> {
        let exit = self.with_sandbox(|sandbox| sandbox.wait());
        *lock(&self.ended) = true;
        self.has_ended.notify_all();
        exit
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        *lock(&self.ended)
    }

    /// Waits for its end or until `timeout` has passed, and says whether it has ended.
    fn wait_at_most(&self, timeout: Duration) -> bool {
        // More than a clock can count to is no limit.
        let deadline = Instant::now().checked_add(timeout);
        let mut ended = lock(&self.ended);
        while !*ended {
            let Some(deadline) = deadline else {
                ended = self.has_ended.wait(ended).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.has_ended.wait_timeout(ended, left);
            ended = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Sends a signal; a guest that has ended is success.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), BackendError> {
        match self.with_sandbox(|sandbox| sandbox.signal(signal)) {
            Err(BackendError::WrongState { .. }) => Ok(()),
            other => other,
        }
    }

    /// Sends `signal`, and KILL when that has not ended it within `timeout`. A pause ends.
    pub(super) fn stop(&self, signal: Signal, timeout: Duration) -> Result<(), BackendError> {
        self.signal(signal)?;
        self.wake()?;
        if self.wait_at_most(timeout) { Ok(()) } else { self.signal(Signal::KILL) }
    }

    /// Lets its container outlive it.
    pub(super) fn keep(&self) {
        self.kept.store(true, Ordering::SeqCst);
    }

    /// Whether its container is to outlive it in any case.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::SeqCst)
    }

    /// Takes what goes to its stdin.
    pub(super) fn set_stdin(&self, writer: Option<Box<dyn Write + Send>>) {
        *lock(&self.stdin) = writer;
    }

    /// Gives it bytes to read, and waits until it has room. What it closed is dropped.
    pub(super) fn write_stdin(&self, bytes: &[u8]) {
        let mut stdin = lock(&self.stdin);
        if let Some(writer) = stdin.as_mut()
            && writer.write_all(bytes).and_then(|()| writer.flush()).is_err()
        {
            *stdin = None;
        }
    }

    /// Ends its stdin where that ends with who types it.
    pub(super) fn end_of_input(&self) {
        if self.input == Input::Once {
            self.close_stdin();
        }
    }

    /// Ends its stdin.
    fn close_stdin(&self) {
        self.set_stdin(None);
    }

    /// Keeps what it wrote in the log and passes it on. Who does not take it is waited for;
    /// who is gone is forgotten.
    pub(super) fn output(&self, stream: Stream, bytes: &[u8]) {
        lock(&self.log).append(stream, bytes);
        self.log_grown.notify_all();
        let members: Vec<_> = {
            let members = lock(&self.members);
            members.iter().filter(|member| member.wants(stream)).cloned().collect()
        };
        if members.is_empty() {
            return;
        }
        let reply = Reply::written(stream, bytes);
        for member in members {
            if member.peer.send(&reply).is_err() {
                self.leave(&member.peer);
            }
        }
    }

    /// Waits until the log has grown past `generation`; `None` when it is closed.
    pub(super) fn wait_for_log(&self, generation: u64) -> Option<u64> {
        let mut log = lock(&self.log);
        while log.generation == generation && !log.closed {
            log = self.log_grown.wait(log).unwrap_or_else(PoisonError::into_inner);
        }
        (log.generation != generation).then_some(log.generation)
    }

    /// How often the log has grown.
    pub(super) fn log_generation(&self) -> u64 {
        lock(&self.log).generation
    }

    /// Adds one who is told of the end.
    pub(super) fn join(&self, member: Member) {
        lock(&self.members).push(member);
    }

    /// Forgets one who joined.
    pub(super) fn leave(&self, peer: &Peer) {
        lock(&self.members).retain(|member| !Arc::ptr_eq(&member.peer.0, &peer.0));
    }

    /// Removes the sandbox, whose output has ended. A guest that trapped cannot say so itself:
    /// `last_words` follow its output. Returns everything that went wrong.
    pub(super) fn put_away(&self, last_words: Option<&str>) -> Vec<crate::Error> {
        let mut errors = Vec::new();
        self.forget_pauses();
        let sandbox = self.sandbox.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = sandbox.map(Sandbox::delete) {
            errors.push(error.into());
        }
        self.close_stdin();
        if let Some(words) = last_words {
            self.output(Stream::Stderr, words.as_bytes());
        }
        errors.extend(lock(&self.log).close().err());
        self.log_grown.notify_all();
        self.sessions.wait_until_all_have_ended();
        self.copies.wait_until_all_have_ended();
        errors
    }

    /// The last word to everyone who waits.
    pub(super) fn tell_end(&self, exit: Exit) {
        let reply = Reply::Exited(exit);
        for member in mem::take(&mut *lock(&self.members)) {
            // Who is gone need not hear it.
            let _ = member.peer.send(&reply);
        }
    }
}

/// Ends the guest when `limit` has passed.
pub(super) fn end_after(guest: &Arc<Guest>, limit: Duration) -> Result<()> {
    let watched = Arc::clone(guest);
    spawn("timeout", move || {
        if !watched.wait_at_most(limit) {
            // Nobody to tell: the guest's end does.
            let _ = watched.signal(Signal::KILL);
        }
    })
    .map(drop)
}
