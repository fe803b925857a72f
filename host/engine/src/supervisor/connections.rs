//! What clients ask of a running container's supervisor.

use std::{
    fs::File,
    io::Read,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use interprocess::local_socket::{Listener, Stream as Socket, traits::ListenerExt as _};
use silo_isolation::{Signal, TerminalSize};

use super::{
    copies, exec,
    guest::{Guest, Member, Peer},
    streams::spawn,
    update,
};
use crate::{
    Attach, Error, Failure, Result,
    client::Shared,
    protocol::{self, Reply, Request},
};

/// A client's connection.
pub(super) struct Incoming(Arc<Socket>);

impl Incoming {
    /// The next request; `None` when the client is gone or talks nonsense.
    pub(super) fn next(&mut self) -> Option<Request> {
        protocol::read(&mut &*self.0).ok().flatten()
    }

    /// The client as one who can be written to.
    pub(super) fn peer(&self) -> Peer {
        Peer::new(Box::new(Shared(Arc::clone(&self.0))))
    }
}

/// The thread that accepts connections, each of which gets a thread.
pub(super) struct Accepting {
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "it is closed with the process")
    )]
    listener: Arc<Listener>,
    thread: JoinHandle<()>,
}

/// Starts accepting.
pub(super) fn accept(guest: &Arc<Guest>, listener: Listener) -> Result<Accepting> {
    let listener = Arc::new(listener);
    let (incoming, guest) = (Arc::clone(&listener), Arc::clone(guest));
    let thread = spawn("control", move || {
        for connection in incoming.incoming() {
            let Ok(socket) = connection else {
                if guest.has_ended() {
                    return;
                }
                // No more file descriptors: that passes, and no client can be told.
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            let guest = Arc::clone(&guest);
            // Without a thread the connection is closed, and the client says so.
            let _ = spawn("client", move || serve(&guest, Incoming(Arc::new(socket))));
        }
    })?;
    Ok(Accepting { listener, thread })
}

impl Accepting {
    /// Accepts no more, now that the guest has ended. Who comes later finds that nobody listens,
    /// and waits for the container's lock.
    pub(super) fn close(self) -> Closing {
        // This ends a waiting accept(2) on Linux; other systems do not promise it.
        #[cfg(target_os = "linux")]
        let is_closed = {
            let Listener::UdSocket(listener) = &*self.listener;
            rustix::net::shutdown(listener, rustix::net::Shutdown::Both).is_ok()
        };
        // The thread ends with the process.
        #[cfg(not(target_os = "linux"))]
        let is_closed = false;
        Closing(is_closed.then_some(self.thread))
    }
}

/// A socket that is being closed.
pub(super) struct Closing(Option<JoinHandle<()>>);

impl Closing {
    /// Waits until it is, and keeps its file system from being unmounted no longer.
    pub(super) fn wait(self) {
        if let Some(thread) = self.0 {
            // One that panicked has ended too.
            let _ = thread.join();
        }
    }
}

/// Starts the thread that kills the guest when its starter is gone.
pub(super) fn watch_starter(guest: &Arc<Guest>, input: &File) -> Result<JoinHandle<()>> {
    let failed = |source| Error::Supervisor { step: "read from the starter", source };
    let mut input = input.try_clone().map_err(failed)?;
    let guest = Arc::clone(guest);
    spawn("starter", move || {
        // It has nothing more to say.
        let _ = std::io::copy(&mut input, &mut std::io::sink());
        // A guest that has ended is success, and another failure nobody's to tell.
        let _ = guest.signal(Signal::KILL);
    })
}

/// Starts the thread that reads the starter's stdin.
pub(super) fn read_starter(guest: &Arc<Guest>, input: &File, starter: &Peer) -> Result<()> {
    let failed = |source| Error::Supervisor { step: "read from the starter", source };
    let mut input = input.try_clone().map_err(failed)?;
    let (guest, starter) = (Arc::clone(guest), starter.clone());
    spawn("starter", move || feed(&guest, &mut input, &starter)).map(drop)
}

/// Gives the guest what a client types, until that ends or the client detaches.
fn feed(guest: &Guest, input: &mut dyn Read, client: &Peer) {
    loop {
        match protocol::read(input) {
            Ok(Some(Request::Stdin(bytes))) => guest.write_stdin(&bytes),
            Ok(Some(Request::Detach)) => {
                guest.leave(client);
                // A client that is gone has detached, too.
                let _ = client.send(&Reply::Detached);
                return;
            }
            _ => return guest.end_of_input(),
        }
    }
}

fn serve(guest: &Guest, mut incoming: Incoming) {
    let Some(request) = incoming.next() else { return };
    let peer = incoming.peer();
    if let Err(error) = answer(guest, incoming, &peer, request) {
        // A client that is gone needs no answer.
        let _ = peer.send(&Reply::Failed(Failure::from(&error)));
    }
}

fn answer(guest: &Guest, mut incoming: Incoming, peer: &Peer, request: Request) -> Result<()> {
    let done = |result: Result<(), silo_isolation::Error>| -> Result<Option<Reply>> {
        Ok(result.map(|()| Some(Reply::Done))?)
    };
    let reply = match request {
        Request::Signal { session: None, signal } => done(guest.signal(signal))?,
        Request::Signal { session: Some(number), signal } => {
            done(guest.sessions.get(number).map_or(Ok(()), |process| process.signal(signal)))?
        }
        Request::Resize { session, size } => done(resize(guest, session, size))?,
        Request::Stats => Some(Reply::Stats(guest.with_sandbox(|sandbox| sandbox.stats())?)),
        Request::Processes => Some(Reply::Processes(guest.with_sandbox(|sandbox| {
            sandbox.processes().map(silo_isolation::Processes::pids).transpose()
        })?)),
        Request::Stop { signal, timeout, keep } => {
            if keep {
                guest.keep();
            }
            guest.join(Member::waiting(peer.clone()));
            guest.stop(signal, timeout)?;
            None
        }
        Request::Wait => {
            guest.join(Member::waiting(peer.clone()));
            None
        }
        Request::CopyOut { path, how } => Some(copies::send(guest, peer, &path, how)?),
        Request::CopyIn { path, what } => {
            copies::receive(guest, &mut incoming, peer, &path, &what);
            None
        }
        Request::Pause => Some(changed(guest.pause()?)),
        Request::Unpause => Some(changed(guest.unpause()?)),
        Request::Update(change) => update::update(guest, &change)?,
        Request::Hold => return hold(guest, incoming, peer),
        Request::Follow => {
            follow(guest, peer);
            None
        }
        Request::Attach(how) => return attach(guest, &incoming, peer, how),
        Request::Exec { process, interactive, size } => {
            return exec::serve(guest, incoming, &process, interactive, size);
        }
        Request::Start(_)
        | Request::StartBound(_)
        | Request::Stdin(_)
        | Request::StdinClosed
        | Request::Detach => {
            return Err(Error::Supervisor {
                step: "understand what the client asks",
                source: std::io::ErrorKind::InvalidInput.into(),
            });
        }
    };
    if let Some(reply) = reply {
        // A client that is gone needs no answer.
        let _ = peer.send(&reply);
    }
    Ok(())
}

/// Lets a client take part in the guest's streams.
fn attach(guest: &Guest, incoming: &Incoming, peer: &Peer, how: Attach) -> Result<()> {
    // A client that is gone is forgotten at the first output.
    let _ = peer.send(&Reply::Started { session: None });
    guest.join(Member::attached(peer.clone(), how));
    if let Some(size) = how.size {
        redraw(guest, size)?;
    }
    if how.stdin {
        feed(guest, &mut &*incoming.0, peer);
    }
    Ok(())
}

const fn changed(changed: bool) -> Reply {
    if changed { Reply::Done } else { Reply::Unchanged }
}

fn resize(
    guest: &Guest,
    session: Option<u64>,
    size: TerminalSize,
) -> Result<(), silo_isolation::Error> {
    // What has no terminal, or has ended, has no size.
    match session {
        Some(number) => guest.sessions.get(number).map_or(Ok(()), |process| {
            process.terminal().map_or(Ok(()), |terminal| terminal.resize(size))
        }),
        None => guest.with_sandbox(|sandbox| {
            sandbox.terminal().map_or(Ok(()), |terminal| terminal.resize(size))
        }),
    }
}

/// Has a guest show its terminal anew to who came later: it does when the size changes.
fn redraw(guest: &Guest, size: TerminalSize) -> Result<(), silo_isolation::Error> {
    resize(guest, None, TerminalSize { rows: size.rows.saturating_add(1), ..size })?;
    resize(guest, None, size)
}

/// Lets the guest stand still until the client is gone.
fn hold(guest: &Guest, mut incoming: Incoming, peer: &Peer) -> Result<()> {
    guest.hold()?;
    if peer.send(&Reply::Done).is_ok() {
        // It has nothing to say, and is waited for.
        let _ = incoming.next();
    }
    Ok(guest.release()?)
}

/// Tells whenever the log has grown. This thread waits for a slow reader, not the guest's.
fn follow(guest: &Guest, peer: &Peer) {
    let mut seen = guest.log_generation();
    // What was written before this arrived may have been read before it.
    let mut alive = peer.send(&Reply::Logged).is_ok();
    while alive {
        let Some(generation) = guest.wait_for_log(seen) else {
            guest.join(Member::waiting(peer.clone()));
            return;
        };
        seen = generation;
        alive = peer.send(&Reply::Logged).is_ok();
    }
}
