//! What differs between two file systems: a container and its image, or two images.

mod images;
mod upper;

pub use self::images::compare;
use crate::{Omitted, Snapshot, error::Result};

/// A path that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The path in the guest, with a leading `/`. What is not UTF-8 in it is replaced by U+FFFD.
    pub path: String,
    /// How it differs.
    pub kind: ChangeKind,
}

/// How a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is there in both: its content, its attributes or, of a directory, what is in it differs.
    Modified,
    /// It is gone. What was in a directory is not listed.
    Deleted,
}

impl Snapshot {
    /// What the guest changed in its image, sorted by path. A directory in which something changed
    /// has changed. The cost is that of the changes.
    pub fn changes(&self, omitted: &Omitted) -> Result<Vec<Change>> {
        upper::changes(self, omitted)
    }
}

impl ChangeKind {
    /// The letter that `docker diff` prints: `A`, `C` or `D`.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Modified => 'C',
            Self::Deleted => 'D',
        }
    }
}

impl Change {
    fn new(path: &[u8], kind: ChangeKind) -> Self {
        Self { path: format!("/{}", String::from_utf8_lossy(path)), kind }
    }
}
