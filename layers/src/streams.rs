//! Readers that notice what passes through them.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use crate::Digest;

/// Copies what is read to a writer. A failure to write is kept apart from one to read.
pub(crate) struct Tee<R, W> {
    pub(crate) reader: R,
    pub(crate) writer: W,
    pub(crate) write_error: Option<io::Error>,
}

impl<R: Read, W: Write> Tee<R, W> {
    pub(crate) const fn new(reader: R, writer: W) -> Self {
        Self { reader, writer, write_error: None }
    }
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if let Err(error) = self.writer.write_all(&buffer[..count]) {
            let kind = error.kind();
            self.write_error = Some(error);
            return Err(kind.into());
        }
        Ok(count)
    }
}

/// Digests what is read.
pub(crate) struct Hashing<R> {
    reader: R,
    hasher: Sha256,
}

impl<R: Read> Hashing<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, hasher: Sha256::new() }
    }

    pub(crate) fn digest(self) -> Digest {
        Digest::from_bytes(self.hasher.finalize().into())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// Digests what is written.
pub(crate) struct Digesting<W> {
    writer: W,
    hasher: Sha256,
}

impl<W> Digesting<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self { writer, hasher: Sha256::new() }
    }

    /// The digest, and what was written to.
    pub(crate) fn finish(self) -> (Digest, W) {
        (Digest::from_bytes(self.hasher.finalize().into()), self.writer)
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(content)?;
        self.hasher.update(&content[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Keeps the error that reading ended with: a writer that reads mixes up the two sides.
pub(crate) struct Watched<R> {
    reader: R,
    pub(crate) error: Option<io::Error>,
}

impl<R> Watched<R> {
    pub(crate) const fn new(reader: R) -> Self {
        Self { reader, error: None }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.reader.read(buffer) {
            Ok(count) => Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.error = Some(error);
                Err(kind.into())
            }
        }
    }
}
