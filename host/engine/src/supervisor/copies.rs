//! Copies from and to a running guest.
//!
//! They hold its files open, and the sandbox only while these are opened: a client that stops reading
//! keeps no guest from ending.

use std::{
    io::{self, BufWriter, Read, Write},
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use silo_layers::copy::{CopyIn, CopyOut, GuestFiles};

use super::{
    connections::Incoming,
    guest::{Guest, Peer, lock},
};
use crate::{
    Failure, Result,
    protocol::{CHUNK, Reply, Request},
};

/// How long the end of copies is waited for whose guest has ended.
const GRACE: Duration = Duration::from_secs(2);

/// The copies that are under way.
#[derive(Default)]
pub(super) struct Copies {
    running: Mutex<usize>,
    one_ended: Condvar,
}

/// One of them.
struct Running<'a>(&'a Copies);

impl Copies {
    fn begin(&self) -> Running<'_> {
        *lock(&self.running) += 1;
        Running(self)
    }

    /// Waits until nobody uses the guest's files any more, but not for a client that stands still.
    pub(super) fn wait_until_all_have_ended(&self) {
        let running = lock(&self.running);
        let waited = self.one_ended.wait_timeout_while(running, GRACE, |running| *running > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *lock(&self.0.running) -= 1;
        self.0.one_ended.notify_all();
    }
}

fn open(guest: &Guest) -> Result<Box<dyn GuestFiles>> {
    let not_offered = || silo_isolation::Error::Unsupported {
        what: "this container's backend copies no files while it runs".to_owned(),
    };
    let open = guest.with_sandbox(|sandbox| sandbox.files().ok_or_else(not_offered)?.open());
    Ok(open?)
}

/// Sends an archive of what is at `path`.
pub(super) fn send(guest: &Guest, peer: &Peer, path: &str, how: CopyOut) -> Result<Reply> {
    let _running = guest.copies.begin();
    let files = open(guest)?;
    let mut output = BufWriter::with_capacity(CHUNK, Frames(peer));
    let skipped = files.copy_out(path, how, &mut output)?;
    // A client that is gone needs no archive.
    let _ = output.flush();
    Ok(Reply::Copied { skipped })
}

/// Unpacks the archive that a client sends.
pub(super) fn receive(
    guest: &Guest,
    incoming: &mut Incoming,
    peer: &Peer,
    path: &str,
    what: &CopyIn,
) {
    let _running = guest.copies.begin();
    let mut archive = Archive { incoming, chunk: Vec::new(), position: 0, ended: false };
    let copied = open(guest).and_then(|files| Ok(files.copy_in(&mut archive, path, what)?));
    let reply = match copied {
        Ok(skipped) => Reply::Copied { skipped },
        Err(error) => Reply::Failed(Failure::from(&error)),
    };
    // A client that is gone needs no answer.
    let _ = peer.send(&reply);
    // It reads the answer when all is written: a connection closed before would lose it.
    let _ = io::copy(&mut archive, &mut io::sink());
}

/// An archive as frames to a client.
struct Frames<'a>(&'a Peer);

impl Write for Frames<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK);
        self.0.send(&Reply::Stdout(bytes[..count].to_vec()))?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An archive as frames of a client.
struct Archive<'a> {
    incoming: &'a mut Incoming,
    chunk: Vec<u8>,
    position: usize,
    ended: bool,
}

impl Read for Archive<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.chunk.len() && !self.ended {
            self.position = 0;
            match self.incoming.next() {
                Some(Request::Stdin(bytes)) => self.chunk = bytes,
                Some(Request::StdinClosed) => {
                    self.chunk.clear();
                    self.ended = true;
                }
                // The client gave up: what it has sent is no whole archive.
                _ => {
                    self.chunk.clear();
                    self.ended = true;
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        let count = (self.chunk.len() - self.position).min(buffer.len());
        buffer[..count].copy_from_slice(&self.chunk[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }
}
