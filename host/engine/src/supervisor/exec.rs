//! Processes beside a guest's first.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use silo_isolation::{Exec, ExecProcess, Process, Stdio, TerminalSize};

use super::{
    connections::Incoming,
    guest::{Guest, Peer, lock},
    streams::{self, Streams, spawn},
};
use crate::{
    Result,
    protocol::{Reply, Request},
};

/// How long the end of processes is waited for whose sandbox is gone.
const GRACE: Duration = Duration::from_secs(2);

/// The exec sessions of a guest.
#[derive(Default)]
pub(super) struct Sessions {
    running: Mutex<Running>,
    one_ended: Condvar,
}

#[derive(Default)]
struct Running {
    next: u64,
    processes: BTreeMap<u64, Arc<dyn ExecProcess>>,
}

impl Sessions {
    fn add(&self, process: Arc<dyn ExecProcess>) -> u64 {
        let mut running = lock(&self.running);
        running.next += 1;
        let number = running.next;
        running.processes.insert(number, process);
        number
    }

    fn remove(&self, number: u64) {
        lock(&self.running).processes.remove(&number);
        self.one_ended.notify_all();
    }

    /// The process of session `number`, while it runs.
    pub(super) fn get(&self, number: u64) -> Option<Arc<dyn ExecProcess>> {
        lock(&self.running).processes.get(&number).cloned()
    }

    /// Waits until every session has told its client of its end. Their processes went with
    /// the sandbox; one that did not is not waited for forever.
    pub(super) fn wait_until_all_have_ended(&self) {
        let running = lock(&self.running);
        let some_run = |running: &mut Running| !running.processes.is_empty();
        drop(
            self.one_ended
                .wait_timeout_while(running, GRACE, some_run)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// Serves one exec session on its connection until its process has ended.
pub(super) fn serve(
    guest: &Guest,
    incoming: Incoming,
    process: &Process,
    interactive: bool,
    size: Option<TerminalSize>,
) -> Result<()> {
    let peer = incoming.peer();
    let (process, streams) = start(guest, process, interactive, size)?;
    let number = guest.sessions.add(Arc::clone(&process));
    let ended = serve_started(&peer, incoming, &process, streams, number);
    let told = ended.map(|exit| {
        // A client that is gone need not hear it.
        let _ = peer.send(&Reply::Exited(exit));
    });
    guest.sessions.remove(number);
    told
}

fn start(
    guest: &Guest,
    process: &Process,
    interactive: bool,
    size: Option<TerminalSize>,
) -> Result<(Arc<dyn ExecProcess>, Streams)> {
    let (stdio, ours) = if process.terminal {
        (Stdio::Terminal(size.unwrap_or(super::DEFAULT_SIZE)), None)
    } else {
        let (stdio, ours) = streams::pipes(interactive)?;
        (stdio, Some(ours))
    };
    let not_offered = silo_isolation::Error::Unsupported {
        what: "this container's backend runs no processes beside the first".to_owned(),
    };
    let started: Arc<dyn ExecProcess> = guest
        .with_sandbox(|sandbox| {
            let exec: &dyn Exec = sandbox.exec().ok_or(not_offered)?;
            exec.exec(process, stdio)
        })?
        .into();
    let streams = match ours {
        Some(ours) => ours,
        None => streams::terminal(started.terminal(), interactive)?,
    };
    Ok((started, streams))
}

fn serve_started(
    peer: &Peer,
    mut incoming: Incoming,
    process: &Arc<dyn ExecProcess>,
    streams: Streams,
    number: u64,
) -> Result<silo_isolation::Exit> {
    // A client that is gone: the process goes on, as its guest does.
    let _ = peer.send(&Reply::Started { session: Some(number) });
    if let Some(mut input) = streams.input {
        let client = peer.clone();
        spawn("exec input", move || {
            loop {
                match incoming.next() {
                    Some(Request::Stdin(bytes)) => {
                        if input.write_all(&bytes).and_then(|()| input.flush()).is_err() {
                            return;
                        }
                    }
                    Some(Request::Detach) => {
                        // A client that is gone has detached, too.
                        let _ = client.send(&Reply::Detached);
                        return;
                    }
                    _ => return,
                }
            }
        })?;
    }
    streams.outputs.copy(|stream, bytes| {
        // What nobody reads is dropped, so that the process can end.
        let _ = peer.send(&Reply::written(stream, bytes));
    })?;
    Ok(process.wait()?)
}
