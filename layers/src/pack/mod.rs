//! Packing: trees become tar archives, as layers and as whole file systems.
//!
//! What is written depends on the tree alone: entries come in the order of their names, headers are
//! those of POSIX with pax records where a header's fields are too small, and names of users and
//! groups are left out. Sockets are left out too, as archives have no way to say them.

mod archive;
mod filter;
mod omitted;
mod upper;
mod walk;
mod whole;

use std::io::Write;

pub use self::omitted::Omitted;
pub(crate) use self::{
    archive::{Archive, unread},
    filter::Filter,
    upper::{lowers, pack_upper},
    walk::{Pending, split},
    whole::{pack_subtree, pack_tree},
};
use crate::{
    Snapshot,
    error::Result,
    union::{Access, Node, UnionFs},
};

impl Snapshot {
    /// Writes all files as the guest sees them, as one archive.
    pub fn export(&self, output: &mut dyn Write) -> Result<()> {
        let files = UnionFs::open(self, Access::ReadOnly)
            .map_err(|error| unread(error.action, error.path.as_bytes())(error.source))?;
        let mut archive = Archive::new(output);
        pack_tree(&files, &Omitted::default(), &mut archive)?;
        archive.finish().map(drop)
    }
}

impl UnionFs {
    /// Writes a file, or a directory with all that is in it, as an archive in which it is called
    /// `name`.
    pub fn pack(&self, node: Node, name: &str, output: &mut dyn Write) -> Result<()> {
        let mut archive = Archive::new(output);
        pack_subtree(self, node, name.as_bytes(), &mut archive)?;
        archive.finish().map(drop)
    }
}
