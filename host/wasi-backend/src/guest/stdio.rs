//! A guest's standard streams over pipes.

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi_io::{
    poll::Pollable,
    streams::{InputStream, OutputStream, StreamError, StreamResult},
};

use super::Control;

/// The most that is read ahead, and that a guest may write at once.
const CHUNK: usize = 64 * 1024;

/// Standard input. A thread reads the pipe from the guest's first use of it on, so that the
/// guest can wait for other things as well.
#[derive(Clone)]
pub(super) struct Input(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Tells the guest that there is something, or will not be.
    filled: Notify,
    /// Tells the reading thread that there is room.
    emptied: Condvar,
}

struct State {
    /// Until the thread is started.
    pipe: Option<PipeReader>,
    data: Bytes,
    ended: bool,
}

impl Input {
    pub(super) fn new(pipe: PipeReader) -> Self {
        let state = State { pipe: Some(pipe), data: Bytes::new(), ended: false };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            filled: Notify::new(),
            emptied: Condvar::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, with the thread at work.
    fn started(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        if let Some(pipe) = state.pipe.take() {
            let input = self.clone();
            let thread = thread::Builder::new().name("stdin".to_owned());
            if thread.spawn(move || input.fill(pipe)).is_err() {
                state.ended = true;
            }
        }
        state
    }

    /// Reads until the pipe ends or fails. Ends itself only then: there is no portable way to
    /// give up a read.
    fn fill(&self, mut pipe: PipeReader) {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = match pipe.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(count) => count,
                Err(_) => 0,
            };
            let mut state = self.state();
            state.data = Bytes::copy_from_slice(&buffer[..count]);
            state.ended = count == 0;
            self.0.filled.notify_one();
            while !state.ended && !state.data.is_empty() {
                state = self.0.emptied.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.ended {
                return;
            }
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        loop {
            {
                let state = self.started();
                if state.ended || !state.data.is_empty() {
                    return;
                }
            }
            self.0.filled.notified().await;
        }
    }
}

impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut state = self.started();
        if state.data.is_empty() && state.ended {
            return Err(StreamError::Closed);
        }
        let count = size.min(state.data.len());
        let data = state.data.split_to(count);
        if state.data.is_empty() {
            self.0.emptied.notify_one();
        }
        Ok(data)
    }
}

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Input {
    /// Not used by WASI 0.2.
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(tokio::io::empty())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

/// Standard output or error. The guest's thread writes the pipe itself and waits while it is
/// full, as a process does.
#[derive(Clone)]
pub(super) struct Output {
    pipe: Arc<PipeWriter>,
    control: Arc<Control>,
}

impl Output {
    pub(super) fn new(pipe: PipeWriter, control: &Arc<Control>) -> Self {
        Self { pipe: Arc::new(pipe), control: Arc::clone(control) }
    }

    /// Writes a line of the host's.
    pub(super) fn line(&self, line: &str) {
        // Nobody to tell where nobody reads.
        let _ = (&*self.pipe).write_all(format!("{line}\n").as_bytes());
    }
}

#[async_trait::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let written = (&*self.pipe).write_all(&bytes);
        if let Some(signal) = self.control.signal() {
            return Err(StreamError::trap(&format!("ended by {signal}")));
        }
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => StreamError::Closed,
            _ => StreamError::LastOperationFailed(error.into()),
        })
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    /// Not used by WASI 0.2.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}
