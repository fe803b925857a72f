//! Bytes handed from one thread to the next.
//!
//! ```text
//!            full buffers ──>
//!     Sender                  Receiver
//!            <── empty buffers
//! ```
//!
//! Buffers are made as they are wanted, up to a number, and go round: whoever is faster waits for the
//! other, and memory does not depend on how much passes.

use std::{
    io::{self, BufRead, Read},
    sync::mpsc,
};

/// Bytes.
const BUFFER: usize = 256 << 10;
/// At most: what is decompressed while the journal of the disk lets nobody make files, some tens of
/// milliseconds.
const BUFFERS: usize = 64;

/// The end that bytes go into.
pub(crate) struct Sender {
    full: mpsc::Sender<io::Result<Buffer>>,
    empty: mpsc::Receiver<Buffer>,
    /// Buffers that were not made yet.
    unmade: usize,
}

/// The end that bytes come out of.
pub(crate) struct Receiver {
    full: mpsc::Receiver<io::Result<Buffer>>,
    empty: mpsc::Sender<Buffer>,
    current: Option<Buffer>,
    /// Read of the current buffer.
    position: usize,
    /// What the other side ended with, if not well.
    error: Option<io::Error>,
}

struct Buffer {
    bytes: Box<[u8]>,
    filled: usize,
}

/// A pipe for one pass over some bytes.
pub(crate) fn pipe() -> (Sender, Receiver) {
    let (to_receiver, full) = mpsc::channel();
    let (to_sender, empty) = mpsc::channel();
    let receiver = Receiver { full, empty: to_sender, current: None, position: 0, error: None };
    (Sender { full: to_receiver, empty, unmade: BUFFERS }, receiver)
}

impl Sender {
    /// Sends all that `reader` gives, and then what it failed with, if it did. Stops early when the
    /// receiver is gone, which then wants no more. Returns whether all was sent.
    pub(crate) fn send_all(mut self, reader: &mut impl Read) -> bool {
        while let Ok(mut buffer) = self.buffer() {
            let result = buffer.fill(reader);
            let last = buffer.filled < buffer.bytes.len();
            if self.full.send(Ok(buffer)).is_err() {
                return false;
            }
            if let Err(error) = result {
                // A receiver that is gone wants no error either.
                let _ = self.full.send(Err(error));
                return false;
            }
            if last {
                return true;
            }
        }
        false
    }

    /// One that is empty or new, when there may be one.
    fn buffer(&mut self) -> Result<Buffer, mpsc::RecvError> {
        match self.empty.try_recv() {
            Err(mpsc::TryRecvError::Empty) if self.unmade > 0 => {
                self.unmade -= 1;
                Ok(Buffer { bytes: vec![0; BUFFER].into(), filled: 0 })
            }
            Err(mpsc::TryRecvError::Empty) => self.empty.recv(),
            Err(mpsc::TryRecvError::Disconnected) => Err(mpsc::RecvError),
            Ok(buffer) => Ok(buffer),
        }
    }
}

impl Buffer {
    /// Reads until the buffer is full or the reader at its end.
    fn fill(&mut self, reader: &mut impl Read) -> io::Result<()> {
        self.filled = 0;
        while self.filled < self.bytes.len() {
            match reader.read(&mut self.bytes[self.filled..]) {
                Ok(0) => break,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Receiver {
    /// Goes to the next buffer with anything in it, or to the end.
    fn advance(&mut self) -> io::Result<()> {
        while self.current.as_ref().is_none_or(|buffer| self.position == buffer.filled) {
            if let Some(read) = self.current.take() {
                // A sender at its end needs no more buffers.
                let _ = self.empty.send(read);
            }
            self.position = 0;
            if let Some(error) = &self.error {
                return Err(copy_of(error));
            }
            match self.full.recv() {
                Ok(Ok(buffer)) => self.current = Some(buffer),
                Ok(Err(error)) => {
                    self.error = Some(copy_of(&error));
                    return Err(error);
                }
                // The sender is at its end.
                Err(mpsc::RecvError) => break,
            }
        }
        Ok(())
    }
}

impl BufRead for Receiver {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.advance()?;
        let unread = |buffer: &'_ Buffer| self.position..buffer.filled;
        Ok(self.current.as_ref().map_or(&[], |buffer| &buffer.bytes[unread(buffer)]))
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
    }
}

impl Read for Receiver {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

/// Readers ask again after an error, and must not take it for the end then.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// What comes out of a pipe that `reader` goes into.
    fn passed(mut reader: impl Read + Send) -> (Vec<u8>, io::Result<usize>, Receiver) {
        let (sender, mut receiver) = pipe();
        let mut content = Vec::new();
        let result = thread::scope(|scope| {
            scope.spawn(|| sender.send_all(&mut reader));
            receiver.read_to_end(&mut content)
        });
        (content, result, receiver)
    }

    #[test]
    fn what_goes_in_comes_out_whole_and_in_order() {
        for length in [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFERS * BUFFER + 7] {
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            let (content, result, _) = passed(bytes.as_slice());
            assert_eq!(result.unwrap(), length);
            assert!(content == bytes, "{length} bytes");
        }
    }

    #[test]
    fn an_error_comes_after_what_was_read_and_never_becomes_the_end() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged"))
            }
        }
        let (content, result, mut receiver) = passed(b"before".chain(Failing));
        assert_eq!(content, b"before");
        assert_eq!(result.unwrap_err().to_string(), "it is damaged");
        let again = receiver.fill_buf().unwrap_err();
        assert_eq!(
            (again.kind(), again.to_string()),
            (io::ErrorKind::InvalidData, "it is damaged".to_owned())
        );
    }

    #[test]
    fn a_receiver_that_goes_stops_the_sender() {
        let (sender, mut receiver) = pipe();
        thread::scope(|scope| {
            scope.spawn(|| sender.send_all(&mut io::repeat(1)));
            receiver.read_exact(&mut [0; 10]).unwrap();
            drop(receiver);
        });
    }
}
