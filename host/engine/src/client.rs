//! Starting supervisors and talking to them.

use std::{
    ffi::OsString,
    io::{self, BufWriter, PipeReader, PipeWriter, Read, Write},
    mem,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use interprocess::local_socket::Stream as Socket;
use silo_isolation::{Exit, Signal, TerminalSize};
use silo_layers::copy::{CopyIn, CopyOut};

use crate::{
    Attach, Error, Result,
    endpoint::Endpoint,
    protocol::{self, CHUNK, Reply, Request},
    state::{Containers, short},
};

/// How supervisors are started.
pub trait Launch: Send + Sync {
    /// Starts a process that calls [`crate::supervise`] for container `id` and the backend of this
    /// name, with `stdin` and `stdout` as its own. What is returned waits for its end.
    fn launch(
        &self,
        id: &str,
        backend: &str,
        stdin: PipeReader,
        stdout: PipeWriter,
    ) -> io::Result<Reap>;
}

/// Waits for a supervisor's end. What it exits with says nothing that its words did not.
pub type Reap = Box<dyn FnOnce() + Send>;

/// Supervisors in processes of a program that calls [`crate::supervise`] with the root that it
/// knows from `args`, and with the container's id and backend, which follow them.
#[derive(Clone, Debug)]
pub struct SupervisorCommand {
    /// The program: as a rule this one.
    pub program: PathBuf,
    /// What stands before the id.
    pub args: Vec<OsString>,
}

impl Launch for SupervisorCommand {
    fn launch(
        &self,
        id: &str,
        backend: &str,
        stdin: PipeReader,
        stdout: PipeWriter,
    ) -> io::Result<Reap> {
        let mut process = Command::new(&self.program);
        process.args(&self.args).args([id, backend]);
        process.stdin(stdin).stdout(stdout).stderr(Stdio::null());
        #[cfg(windows)]
        {
            use std::os::windows::process::CommandExt as _;
            const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
            const CREATE_NO_WINDOW: u32 = 0x0800_0000;
            // Away from the console, whose Ctrl-C is not meant for it.
            process.creation_flags(CREATE_NEW_PROCESS_GROUP | CREATE_NO_WINDOW);
        }
        let mut child = process.spawn()?;
        Ok(Box::new(move || drop(child.wait())))
    }
}

/// A client's part in a running container or exec session. Dropping it detaches.
pub struct Session {
    id: String,
    reader: Box<dyn Read + Send>,
    /// The same, where it is a pipe.
    #[cfg(unix)]
    pipe: Option<PipeReader>,
    control: Control,
    reap: Option<Reap>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Session {
    /// The container's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What can be done to the guest while [`Session::wait`] copies its output.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Copies the guest's output until it has ended and is put away. Nothing of the store is in use
    /// for it any more; its supervisor, which the starter is the parent of, is about to end.
    pub fn follow(&mut self, stdout: &mut dyn Write, stderr: &mut dyn Write) -> Result<Exit> {
        loop {
            if let Some(exit) = self.take(stdout, stderr)? {
                return Ok(exit);
            }
        }
    }

    /// [`follow`](Self::follow) for so long: `None` when the guest has not ended by then, or at once
    /// where it cannot be waited for so. A guest that is short of life needs nothing that only
    /// concerns others, such as a thread.
    pub fn follow_for(
        &mut self,
        patience: Duration,
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> Result<Option<Exit>> {
        let deadline = Instant::now() + patience;
        while self.is_readable_by(deadline) {
            if let Some(exit) = self.take(stdout, stderr)? {
                return Ok(Some(exit));
            }
        }
        Ok(None)
    }

    /// Takes the supervisor's next word: copies what it is, or says that it was the last.
    fn take(&mut self, stdout: &mut dyn Write, stderr: &mut dyn Write) -> Result<Option<Exit>> {
        let copy = |writer: &mut dyn Write, bytes: &[u8]| {
            writer
                .write_all(bytes)
                .and_then(|()| writer.flush())
                .map_err(|source| Error::Output { source })
        };
        match receive(&mut self.reader)? {
            Some(Reply::Stdout(bytes)) => copy(stdout, &bytes)?,
            Some(Reply::Stderr(bytes)) => copy(stderr, &bytes)?,
            Some(Reply::Exited(exit)) => return Ok(Some(exit)),
            Some(Reply::Detached) => return Err(Error::Detached),
            Some(Reply::Failed(failure)) => return Err(failure.into()),
            Some(_) => {}
            None => return Err(Error::SupervisorLost(short(&self.id).to_owned())),
        }
        Ok(None)
    }

    #[cfg(unix)]
    fn is_readable_by(&self, deadline: Instant) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let Some(pipe) = &self.pipe else { return false };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // A guest that never stops writing is not waited for either.
            return false;
        }
        let left = Timespec::try_from(left).unwrap_or_default();
        let mut waited_for = [PollFd::new(pipe, PollFlags::IN)];
        // A signal ends the wait early, which is no harm.
        poll(&mut waited_for, Some(&left)).is_ok_and(|ready| ready > 0)
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "pipes cannot be waited for here")]
    fn is_readable_by(&self, _: Instant) -> bool {
        false
    }

    /// Waits for the supervisor's end.
    pub(crate) fn reap(&mut self) {
        if let Some(reap) = self.reap.take() {
            reap();
        }
    }

    /// [`follow`](Self::follow), and waits for the supervisor's end, too: for those who
    /// live on.
    pub fn wait(mut self, stdout: &mut dyn Write, stderr: &mut dyn Write) -> Result<Exit> {
        let exit = self.follow(stdout, stderr);
        self.reap();
        exit
    }
}

/// Sends to a running guest. Shared between threads.
#[derive(Clone)]
pub struct Control {
    endpoint: Endpoint,
    session: Option<u64>,
    input: Arc<Mutex<Option<Box<dyn Write + Send>>>>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Control {
    /// Gives the guest bytes to read; waits while it reads none. Those that an ended guest
    /// leaves are lost.
    pub fn stdin(&self, bytes: &[u8]) -> Result<()> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = input.as_mut() else { return Ok(()) };
        for chunk in bytes.chunks(CHUNK) {
            send(writer, &Request::Stdin(chunk.to_vec()))?;
        }
        Ok(())
    }

    /// Ends what the guest has to read.
    pub fn close_stdin(&self) -> Result<()> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        input.take().map_or(Ok(()), |mut writer| send(&mut writer, &Request::StdinClosed))
    }

    /// Leaves the guest running, what it has to read open, and ends
    /// [`Session::follow`] with [`Error::Detached`]. For those who are attached to its stdin.
    pub fn detach(&self) -> Result<()> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        input.take().map_or(Ok(()), |mut writer| send(&mut writer, &Request::Detach))
    }

    /// Sends the guest a signal. A guest that has ended is success.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.ask(&Request::Signal { session: self.session, signal })
    }

    /// Tells the guest its terminal's size.
    pub fn resize(&self, size: TerminalSize) -> Result<()> {
        self.ask(&Request::Resize { session: self.session, size })
    }

    fn ask(&self, request: &Request) -> Result<()> {
        match Connection::open(&self.endpoint) {
            Ok(mut connection) => match connection.ask(request)? {
                Some(Reply::Failed(failure)) => Err(failure.into()),
                _ => Ok(()),
            },
            Err(error) if is_gone(&error) => Ok(()),
            Err(source) => Err(Error::Supervisor { step: "reach the supervisor", source }),
        }
    }
}

/// Whether nobody listens at an endpoint any more.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused | ConnectionReset | BrokenPipe)
}

const SEND: &str = "send to the supervisor";

fn send(writer: &mut dyn Write, request: &Request) -> Result<()> {
    match protocol::write(writer, request) {
        Err(error) if !is_gone(&error) => Err(Error::Supervisor { step: SEND, source: error }),
        _ => Ok(()),
    }
}

fn receive(reader: &mut dyn Read) -> Result<Option<Reply>> {
    protocol::read(reader)
        .map_err(|source| Error::Supervisor { step: "read from the supervisor", source })
}

/// A connection to the supervisor of a running container.
pub(crate) struct Connection {
    socket: Arc<Socket>,
}

impl Connection {
    pub(crate) fn open(endpoint: &Endpoint) -> io::Result<Self> {
        Ok(Self { socket: Arc::new(endpoint.connect()?) })
    }

    /// Sends a request and returns the first answer; `None` where the supervisor is gone.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Option<Reply>> {
        send(&mut &*self.socket, request)?;
        self.next()
    }

    /// The next answer.
    pub(crate) fn next(&mut self) -> Result<Option<Reply>> {
        receive(&mut &*self.socket)
    }

    /// Asks for an archive of the guest's files, to be read.
    pub(crate) fn copy_out(mut self, id: &str, path: String, how: CopyOut) -> Result<Copying> {
        send(&mut &*self.socket, &Request::CopyOut { path, how })?;
        let first = self.next()?;
        let id = short(id).to_owned();
        let mut copying =
            Copying { id, connection: self, chunk: Vec::new(), position: 0, outcome: None };
        copying.accept(first)?;
        Ok(copying)
    }

    /// Sends an archive that `pack` writes, to be unpacked at a path of the guest. What it returns,
    /// and the paths of what was not unpacked.
    pub(crate) fn copy_in<T>(
        mut self,
        id: &str,
        path: String,
        what: CopyIn,
        pack: impl FnOnce(&mut dyn Write) -> Result<T>,
    ) -> Result<(T, Vec<String>)> {
        send(&mut &*self.socket, &Request::CopyIn { path, what })?;
        let mut frames = BufWriter::with_capacity(CHUNK, Frames(&self.socket));
        let packed = pack(&mut frames)?;
        frames.flush().map_err(|source| Error::Supervisor { step: SEND, source })?;
        drop(frames);
        send(&mut &*self.socket, &Request::StdinClosed)?;
        match self.next()? {
            Some(Reply::Copied { skipped }) => Ok((packed, skipped)),
            Some(Reply::Failed(failure)) => Err(failure.into()),
            _ => Err(Error::SupervisorLost(short(id).to_owned())),
        }
    }

    /// Takes part in the session that the last answer said to have started.
    pub(crate) fn into_session(
        self,
        id: &str,
        endpoint: Endpoint,
        session: Option<u64>,
    ) -> Session {
        let reader = Shared(Arc::clone(&self.socket));
        let input: Box<dyn Write + Send> = Box::new(Shared(self.socket));
        let control = Control { endpoint, session, input: Arc::new(Mutex::new(Some(input))) };
        Session {
            id: id.to_owned(),
            reader: Box::new(reader),
            #[cfg(unix)]
            pipe: None,
            control,
            reap: None,
        }
    }
}

/// An archive as frames to a supervisor. One that takes no more has said why.
struct Frames<'a>(&'a Socket);

impl Write for Frames<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK);
        match protocol::write(&mut &*self.0, &Request::Stdin(bytes[..count].to_vec())) {
            Err(error) if !is_gone(&error) => Err(error),
            _ => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An archive that a supervisor sends.
pub(crate) struct Copying {
    id: String,
    connection: Connection,
    chunk: Vec<u8>,
    position: usize,
    outcome: Option<Result<Vec<String>>>,
}

impl Copying {
    fn accept(&mut self, reply: Option<Reply>) -> Result<()> {
        (self.chunk, self.position) = (Vec::new(), 0);
        match reply {
            Some(Reply::Stdout(bytes)) => self.chunk = bytes,
            Some(Reply::Copied { skipped }) => self.outcome = Some(Ok(skipped)),
            Some(Reply::Failed(failure)) => return Err(failure.into()),
            _ => return Err(Error::SupervisorLost(self.id.clone())),
        }
        Ok(())
    }

    /// How the copy ended, when `taken` is what became of what was read: the paths of what could not
    /// be sent, too. A supervisor's failure is told rather than what it caused here.
    pub(crate) fn finish<T>(mut self, taken: Result<T>) -> Result<(T, Vec<String>)> {
        if taken.is_ok() {
            // What follows the archive's end is no part of it; how it went comes last.
            let _ = io::copy(&mut self, &mut io::sink());
        }
        match (self.outcome, taken) {
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (Some(Ok(skipped)), Ok(taken)) => Ok((taken, skipped)),
            (None, Ok(_)) => Err(Error::SupervisorLost(self.id)),
        }
    }
}

impl Read for Copying {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.chunk.len() && self.outcome.is_none() {
            let reply = self.connection.next();
            if let Err(error) = reply.and_then(|reply| self.accept(reply)) {
                self.outcome = Some(Err(error));
            }
        }
        let count = (self.chunk.len() - self.position).min(buffer.len());
        if count == 0 && matches!(self.outcome, Some(Err(_))) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer[..count].copy_from_slice(&self.chunk[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }
}

/// One of two ends of a socket.
pub(crate) struct Shared(pub(crate) Arc<Socket>);

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for Shared {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self.0).write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        // A named pipe's flush waits until the other side has read everything.
        Ok(())
    }
}

/// A supervisor that waits to be told to start its container. Dropping it ends it.
pub(crate) struct Supervisor {
    id: String,
    endpoint: Endpoint,
    pipes: Option<(PipeWriter, PipeReader)>,
    reap: Option<Reap>,
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.pipes = None;
        if let Some(reap) = self.reap.take() {
            reap();
        }
    }
}

/// Starts a process that will supervise container `id` on `backend`. It looks at nothing of the
/// container, which need not exist yet, until [`Supervisor::start`].
pub(crate) fn supervisor(
    launch: &dyn Launch,
    containers: &Containers,
    id: &str,
    backend: &str,
) -> Result<Supervisor> {
    let launched = || {
        let (stdin, input) = io::pipe()?;
        let (output, stdout) = io::pipe()?;
        Ok((launch.launch(id, backend, stdin, stdout)?, (input, output)))
    };
    let (reap, pipes) =
        launched().map_err(|source| Error::Supervisor { step: "start the supervisor", source })?;
    let endpoint = Endpoint::new(containers.root(), id);
    Ok(Supervisor { id: id.to_owned(), endpoint, pipes: Some(pipes), reap: Some(reap) })
}

impl Supervisor {
    /// Starts the container and returns when the guest runs.
    pub(crate) fn start(self, attach: Attach) -> Result<Session> {
        self.begin(&Request::Start(attach), attach).map(|(session, _)| session)
    }

    /// The same for a container that goes when the pipe is dropped that is returned.
    pub(crate) fn start_bound(self) -> Result<(Session, PipeWriter)> {
        let attach = Attach::OUTPUT;
        let (session, bond) = self.begin(&Request::StartBound(attach), attach)?;
        let Some(bond) = bond else { unreachable!("only stdin takes it") };
        Ok((session, bond))
    }

    /// Returns the pipe to the supervisor, too, unless it is the guest's stdin.
    fn begin(mut self, start: &Request, attach: Attach) -> Result<(Session, Option<PipeWriter>)> {
        let Some((mut input, mut output)) = self.pipes.take() else {
            unreachable!("only `drop` takes them, too")
        };
        send(&mut input, start)?;
        match receive(&mut output)? {
            Some(Reply::Started { .. }) => {}
            Some(Reply::Failed(failure)) => return Err(failure.into()),
            _ => return Err(Error::SupervisorLost(short(&self.id).to_owned())),
        }
        let (typed, bond): (Option<Box<dyn Write + Send>>, _) =
            if attach.stdin { (Some(Box::new(input)), None) } else { (None, Some(input)) };
        let control = Control {
            endpoint: self.endpoint.clone(),
            session: None,
            input: Arc::new(Mutex::new(typed)),
        };
        let (id, reap) = (mem::take(&mut self.id), self.reap.take());
        let session = Session {
            id,
            #[cfg(unix)]
            pipe: output.try_clone().ok(),
            reader: Box::new(output),
            control,
            reap,
        };
        Ok((session, bond))
    }
}
