//! How far pulling and pushing are.

use silo_layers::Digest;

/// Something that happened to a blob. What is told comes from several threads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// A blob begins.
    Started {
        /// Which.
        blob: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// More of a blob went by.
    Advanced {
        /// Which.
        blob: Digest,
        /// Bytes of it so far.
        done: u64,
    },
    /// A blob is where it should be.
    Finished {
        /// Which.
        blob: Digest,
        /// How it got there.
        how: Arrival,
    },
}

/// How a blob got where it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrival {
    /// It was there already.
    Known,
    /// It was sent.
    Sent,
    /// The registry took it from another of its repositories.
    Mounted,
}

/// Who is told of progress.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Sync);
