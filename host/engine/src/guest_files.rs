//! Reading a guest's files from outside.

use silo_layers::{
    Snapshot,
    union::{Access, Follow, FsResult, OpenOptions, ROOT, UnionFs},
};

use crate::Result;

/// The most that is read of a guest's file, in bytes: it is the guest's to make it long.
const LONGEST: u64 = 1 << 20;

/// The files of a snapshot, as its guest sees them.
pub(crate) struct GuestFiles(UnionFs);

impl GuestFiles {
    pub(crate) fn open(snapshot: &Snapshot) -> Result<Self> {
        UnionFs::open(snapshot, Access::ReadOnly).map(Self).map_err(|error| {
            crate::Error::Supervisor {
                step: "open the container's layers",
                source: std::io::Error::other(error),
            }
        })
    }

    pub(crate) const fn of(files: UnionFs) -> Self {
        Self(files)
    }

    /// A text file; one that is absent, or that cannot be read, is empty.
    pub(crate) fn read(&self, path: &str) -> String {
        let bytes = self.read_bytes(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn read_bytes(&self, path: &str) -> FsResult<Vec<u8>> {
        let node = self.0.resolve(ROOT, path, Follow::All)?;
        let file = self.0.open_file(node, OpenOptions::READ)?;
        file.read_whole(LONGEST)
    }
}
