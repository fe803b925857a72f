//! The two directions of a connection as streams.

use std::{
    future::poll_fn,
    io,
    net::Shutdown,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use socket2::SockRef;
use tokio::net::TcpStream;
use wasmtime_wasi_io::{
    poll::Pollable,
    streams::{InputStream, OutputStream, StreamError, StreamResult},
};

use super::super::Room;

/// The most that is read or written at once.
const CHUNK: usize = 64 * 1024;
/// How long the host goes on sending what a guest wrote before it let go of the stream.
const LINGER: Duration = Duration::from_secs(10);

/// A connection, which lasts as long as any part of it is in use.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(super) stream: Arc<TcpStream>,
    sending: Arc<Mutex<Sending>>,
    receiving: Arc<Mutex<bool>>,
    _room: Arc<Room>,
}

/// What the guest wrote and the host has not taken yet.
#[derive(Default)]
struct Sending {
    left: Bytes,
    /// Whether nothing comes after that.
    last: bool,
    closed: bool,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, room: Room) -> Self {
        // A guest's writes are what it wants sent; wasi:sockets has no such option.
        let _ = stream.set_nodelay(true);
        Self {
            stream: Arc::new(stream),
            sending: Arc::default(),
            receiving: Arc::new(Mutex::new(true)),
            _room: Arc::new(room),
        }
    }

    pub(crate) fn input(&self) -> Box<dyn InputStream> {
        Box::new(Receiver(self.clone()))
    }

    pub(crate) fn output(&self) -> Box<dyn OutputStream> {
        Box::new(Sender(self.clone()))
    }

    fn sending(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receiving(&self) -> MutexGuard<'_, bool> {
        self.receiving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends one direction or both; what was written is sent first.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Write {
            *self.receiving() = false;
            // A peer that is gone has ended it as well.
            let _ = SockRef::from(&*self.stream).shutdown(Shutdown::Read);
        }
        if how != Shutdown::Read {
            self.sending().last = true;
            if let Poll::Ready(result) =
                self.poll_sent(&mut Context::from_waker(std::task::Waker::noop()))
            {
                return result;
            }
            // A task has to see to it: the guest may not look again.
            let connection = self.clone();
            tokio::spawn(async move { connection.sent_in_time().await });
        }
        Ok(())
    }

    /// Sends what is left.
    fn poll_sent(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sending = self.sending();
        while !sending.left.is_empty() {
            ready!(self.stream.poll_write_ready(context))?;
            match self.stream.try_write(&sending.left) {
                Ok(count) => sending.left.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    sending.left = Bytes::new();
                    sending.closed = true;
                    return Poll::Ready(Err(error));
                }
            }
        }
        if sending.last && !sending.closed {
            sending.closed = true;
            let _ = SockRef::from(&*self.stream).shutdown(Shutdown::Write);
        }
        Poll::Ready(Ok(()))
    }

    async fn sent_in_time(&self) {
        let sent = poll_fn(|context| self.poll_sent(context));
        let _ = tokio::time::timeout(LINGER, sent).await;
    }
}

/// What the peer sends.
struct Receiver(Connection);

#[async_trait::async_trait]
impl Pollable for Receiver {
    async fn ready(&mut self) {
        if *self.0.receiving() {
            // An error is for the read that follows.
            let _ = self.0.stream.readable().await;
        }
    }
}

impl InputStream for Receiver {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if !*self.0.receiving() {
            return Err(StreamError::Closed);
        }
        if size == 0 {
            return Ok(Bytes::new());
        }
        let mut buffer = BytesMut::zeroed(size.min(CHUNK));
        match self.0.stream.try_read(&mut buffer) {
            Ok(0) => {
                *self.0.receiving() = false;
                Err(StreamError::Closed)
            }
            Ok(count) => {
                buffer.truncate(count);
                Ok(buffer.freeze())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Bytes::new()),
            Err(error) => {
                *self.0.receiving() = false;
                Err(StreamError::LastOperationFailed(error.into()))
            }
        }
    }
}

/// What is sent to the peer.
struct Sender(Connection);

#[async_trait::async_trait]
impl Pollable for Sender {
    async fn ready(&mut self) {
        if poll_fn(|context| self.0.poll_sent(context)).await.is_ok() && !self.0.sending().closed {
            let _ = self.0.stream.writable().await;
        }
    }
}

#[async_trait::async_trait]
impl OutputStream for Sender {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        {
            let mut sending = self.0.sending();
            if sending.closed || sending.last {
                return Err(StreamError::Closed);
            }
            if !sending.left.is_empty() {
                return Err(StreamError::trap("written without permission"));
            }
            sending.left = bytes;
        }
        self.send()
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.send()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.send()?;
        let sending = self.0.sending();
        if sending.closed || sending.last {
            return Err(StreamError::Closed);
        }
        Ok(if sending.left.is_empty() { CHUNK } else { 0 })
    }

    /// The guest lets go of the stream.
    async fn cancel(&mut self) {
        self.0.sent_in_time().await;
    }
}

impl Sender {
    /// Sends what can be sent at once.
    fn send(&self) -> StreamResult<()> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match self.0.poll_sent(&mut context) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(StreamError::Closed)
            }
            Poll::Ready(Err(error)) => Err(StreamError::LastOperationFailed(error.into())),
            _ => Ok(()),
        }
    }
}
