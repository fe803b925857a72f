//! How much an archive may become when it is decompressed.

use std::{
    io::{self, BufRead, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::error::Error;

/// Bytes that archives may become in one operation, whatever they are made from.
const FREE: u64 = 16 << 30;
/// How many times their own size they may become beyond that. Images with files of zeros, which gzip
/// makes a thousandth of, are smaller; what is larger is less even.
const RATIO_MAX: u64 = 200;

/// The bytes that one operation decompresses, of all its archives together: bombs come in dozens too.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    free: u64,
    packed: Arc<AtomicU64>,
    unpacked: Arc<AtomicU64>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(FREE)
    }
}

impl Budget {
    /// `free` bytes and [`RATIO_MAX`] times the archives' size.
    pub(crate) fn new(free: u64) -> Self {
        Self { free, packed: Arc::default(), unpacked: Arc::default() }
    }

    /// The bytes of an archive, which count.
    pub(crate) fn packed<R>(&self, reader: R) -> Packed<R> {
        Packed { reader, budget: self.clone() }
    }

    /// What is decompressed, until it is too much.
    pub(crate) fn unpacked<R>(&self, reader: R) -> Unpacked<R> {
        Unpacked { reader, budget: self.clone() }
    }

    fn spend(&self, count: usize) -> io::Result<()> {
        let count = count as u64;
        let unpacked = self.unpacked.fetch_add(count, Ordering::Relaxed) + count;
        if unpacked <= self.free {
            return Ok(());
        }
        let packed = self.packed.load(Ordering::Relaxed);
        if unpacked <= packed.saturating_mul(RATIO_MAX) {
            return Ok(());
        }
        Err(io::Error::other(Error::Bomb { packed, unpacked }))
    }
}

/// See [`Budget::packed`].
pub(crate) struct Packed<R> {
    reader: R,
    budget: Budget,
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.budget.packed.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Packed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.budget.packed.fetch_add(count as u64, Ordering::Relaxed);
        self.reader.consume(count);
    }
}

/// See [`Budget::unpacked`].
pub(crate) struct Unpacked<R> {
    reader: R,
    budget: Budget,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.budget.spend(count)?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(budget: &Budget, packed: u64, unpacked: u64) -> io::Result<u64> {
        io::copy(&mut budget.packed(io::repeat(0).take(packed)), &mut io::sink())?;
        io::copy(&mut budget.unpacked(io::repeat(0).take(unpacked)), &mut io::sink())
    }

    #[test]
    fn what_is_free_or_in_proportion_is_let_through() {
        let budget = Budget::new(1 << 20);
        read(&budget, 1, 1 << 20).unwrap();
        read(&budget, 1 << 20, 100 << 20).unwrap();
        let error = read(&budget, 0, 200 << 20).unwrap_err().downcast::<Error>().unwrap();
        assert!(matches!(error, Error::Bomb { packed: 1_048_577, .. }), "{error}");
    }
}
