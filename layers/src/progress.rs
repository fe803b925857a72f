//! How far a long operation is.

use crate::Digest;

/// Something that happened while layers are added. Whoever adds them passes a closure that is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// A layer begins.
    Started {
        /// The layer's digest or its name in the archive.
        layer: String,
        /// Its size in bytes, as it stands in the archive, where that is known.
        size: Option<u64>,
    },
    /// More of the layer that began last was read.
    Advanced {
        /// Bytes of it so far, as they stand in the archive.
        read: u64,
    },
    /// The layer that began last is whole.
    Finished {
        /// The digest of its uncompressed archive.
        diff_id: Digest,
        /// Whether the store had it already.
        known: bool,
    },
}

/// What is told of [`Progress`].
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress);
