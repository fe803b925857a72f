//! The guest's side of a copy: trees that are walked by handles and names.
//!
//! A [`GuestTree`] only ever answers for one name in a directory that is held open, and follows no
//! symbolic link. Paths are resolved here (`walk`), link by link, within the guest's root: whatever a
//! guest that runs puts in place of what was looked at, nothing leads out of its root.

mod live;
mod mounted;
mod pack;
mod union;
mod unpack;
mod walk;

use std::{
    io::{Read, Write},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

pub(super) use self::unpack::{Side, Unpacker};
pub use self::{
    live::{IdRange, LiveTree},
    mounted::{Mounted, Volume},
    unpack::copy_pieces,
};
use super::place::{CopyError, Source};
use crate::{
    tree::{self, Special, Stat},
    union::{FileKind, FsResult},
};

/// Files as a guest sees them. Names are single components, neither empty nor `.` or `..`.
pub trait GuestTree {
    /// An open directory.
    type Directory: Clone;

    /// The guest's root directory.
    fn root(&self) -> FsResult<Self::Directory>;

    /// What a name stands for.
    fn look(&self, parent: &Self::Directory, name: &[u8]) -> FsResult<Seen>;

    /// What a directory itself is.
    fn look_at(&self, directory: &Self::Directory) -> FsResult<Seen>;

    /// The directory of that name.
    fn enter(&self, parent: &Self::Directory, name: &[u8]) -> FsResult<Self::Directory>;

    /// The names in a directory, in no particular order.
    fn list(&self, directory: &Self::Directory) -> FsResult<Vec<Box<[u8]>>>;

    /// The target of a symbolic link.
    fn target(&self, parent: &Self::Directory, name: &[u8]) -> FsResult<Vec<u8>>;

    /// A regular file's content, and what the file is. Anything else is refused, unopened.
    fn read(&self, parent: &Self::Directory, name: &[u8]) -> FsResult<(Seen, Box<dyn Read + '_>)>;

    /// Makes a regular file, or replaces one.
    fn write(
        &self,
        parent: &Self::Directory,
        name: &[u8],
        content: &mut dyn Read,
        given: &Given,
    ) -> FsResult<()>;

    /// Makes a directory, which [`finish`](Self::finish) opens to others.
    fn make_directory(&self, parent: &Self::Directory, name: &[u8]) -> FsResult<Self::Directory>;

    /// Gives a directory that was made its attributes, when all is in it.
    fn finish(&self, directory: &Self::Directory, given: &Given) -> FsResult<()>;

    /// Makes a symbolic link.
    fn symlink(
        &self,
        parent: &Self::Directory,
        name: &[u8],
        target: &[u8],
        given: &Given,
    ) -> FsResult<()>;

    /// Gives a file a second name.
    fn link(&self, from: (&Self::Directory, &[u8]), to: (&Self::Directory, &[u8])) -> FsResult<()>;

    /// Removes a name of anything but a directory.
    fn remove(&self, parent: &Self::Directory, name: &[u8]) -> FsResult<()>;

    /// Extended attributes by full name, of what has any and where they are wanted.
    fn xattrs(&self, parent: &Self::Directory, name: &[u8]) -> FsResult<Xattrs> {
        let _ = (parent, name);
        Ok(Xattrs::new())
    }

    /// What a fifo, device or socket is.
    fn special(&self, parent: &Self::Directory, name: &[u8], seen: &Seen) -> FsResult<Special> {
        let _ = (parent, name);
        let (major, minor) = tree::device_numbers(seen.stat.rdev);
        Ok(match seen.kind {
            FileKind::CharDevice => Special::Char { major, minor },
            FileKind::BlockDevice => Special::Block { major, minor },
            FileKind::Fifo => Special::Fifo,
            _ => Special::Socket,
        })
    }

    /// Whether it knows whose files are and can give them away; if not, why, in one clause.
    fn keeps_owners(&self) -> Result<(), &'static str> {
        super::keeps_owners()
    }

    /// Whether a path, without `/` at its ends, is left out of a copy of what is above it.
    fn leaves_out(&self, path: &[u8]) -> bool {
        let _ = path;
        false
    }
}

/// Extended attributes: names and values.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// What it is.
    pub kind: FileKind,
    /// What stat(2) tells.
    pub stat: Stat,
}

/// What a copy gets of its original.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// The lower twelve bits of `st_mode`.
    pub mode: u32,
    /// When the content last changed.
    pub mtime: SystemTime,
    /// User and group; else the guest's root.
    pub owner: Option<(u32, u32)>,
}

/// What is copied into a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyIn {
    /// What the archive was made of, which says where it goes; `None` for one that goes into a
    /// directory as it is.
    pub source: Option<Source>,
    /// Whether owners are kept.
    pub owners: bool,
}

/// What is copied out of a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOut {
    /// Whether a symbolic link that is named is followed.
    pub follow: bool,
    /// Whether owners will be kept.
    pub owners: bool,
}

/// A guest's files, to copy from and to. Independent of what it was had from.
pub trait GuestFiles: Send {
    /// Writes a file, or a directory with all that is in it, as an archive. Returns the paths of
    /// what archives have no way to say: sockets.
    fn copy_out(
        &self,
        path: &str,
        how: CopyOut,
        archive: &mut dyn Write,
    ) -> Result<Vec<String>, CopyError>;

    /// Unpacks an archive at `path`. Returns the paths of what it left out: fifos and devices.
    fn copy_in(
        &self,
        archive: &mut dyn Read,
        path: &str,
        what: &CopyIn,
    ) -> Result<Vec<String>, CopyError>;
}

impl<T: GuestTree + Send> GuestFiles for T {
    fn copy_out(
        &self,
        path: &str,
        how: CopyOut,
        archive: &mut dyn Write,
    ) -> Result<Vec<String>, CopyError> {
        check_owners(self, how.owners)?;
        pack::pack(self, path, how.follow, archive)
    }

    fn copy_in(
        &self,
        archive: &mut dyn Read,
        path: &str,
        what: &CopyIn,
    ) -> Result<Vec<String>, CopyError> {
        check_owners(self, what.owners)?;
        unpack::unpack(self, archive, path, what)
    }
}

fn check_owners<T: GuestTree>(tree: &T, wanted: bool) -> Result<(), CopyError> {
    if wanted { tree.keeps_owners().map_err(CopyError::no_owners) } else { Ok(()) }
}
