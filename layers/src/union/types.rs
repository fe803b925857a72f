//! Plain data that the union file system takes and gives.

use std::time::SystemTime;

use crate::{Digest, tree::Kind};

/// A file of the guest, whatever its name. Valid for the life of its [`UnionFs`](super::UnionFs), also
/// when the file is renamed; of a removed file, as long as it is open.
pub type Node = u64;

/// The guest's root directory.
pub const ROOT: Node = 1;

/// Whether the guest may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every change is refused with `ReadOnly`. The upper may be missing.
    ReadOnly,
    /// Changes go to the upper. Nobody else may use the snapshot meanwhile.
    ReadWrite,
}

/// Whether a path's last component is followed when it is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Every symbolic link is followed, as by stat(2).
    All,
    /// All but the last component, as by lstat(2).
    AllButLast,
}

/// How a file is opened.
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of open(2)")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// To read.
    pub read: bool,
    /// To write anywhere.
    pub write: bool,
    /// To write at the end only.
    pub append: bool,
    /// Emptied first. Needs `write` or `append`.
    pub truncate: bool,
}

impl OpenOptions {
    /// To read only.
    pub const READ: Self = Self { read: true, write: false, append: false, truncate: false };
    /// To read and write.
    pub const READ_WRITE: Self = Self { write: true, ..Self::READ };

    pub(super) const fn writes(self) -> bool {
        self.write || self.append
    }
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A socket.
    Socket,
}

impl From<Kind> for FileKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::File => Self::File,
            Kind::Directory => Self::Directory,
            Kind::Symlink => Self::Symlink,
            Kind::Fifo => Self::Fifo,
            Kind::CharDevice | Kind::Whiteout => Self::CharDevice,
            Kind::BlockDevice => Self::BlockDevice,
            Kind::Socket => Self::Socket,
        }
    }
}

/// What stat(2) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The file.
    pub node: Node,
    /// What it is.
    pub kind: FileKind,
    /// In bytes.
    pub size: u64,
    /// How many names the file has; 1 for directories and where the host does not tell.
    pub nlink: u64,
    /// The lower twelve bits of `st_mode`.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The last access.
    pub atime: SystemTime,
    /// The last change of content.
    pub mtime: SystemTime,
    /// The last change of content or attributes, as far as the host tells.
    pub ctime: SystemTime,
    /// Equal for the names of one file, and for no two files at the same time. Two names of one file
    /// in a lower are two files, as in overlayfs without `index`.
    pub inode: u64,
}

/// A directory's entry, other than `.` and `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name.
    pub name: String,
    /// The file.
    pub node: Node,
    /// What it is.
    pub kind: FileKind,
}

/// Which layer a file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provenance {
    /// A lower: the file can't change as long as this is its provenance.
    Lower {
        /// The lower's place in the snapshot, the topmost is 0.
        index: usize,
        /// The layer.
        diff_id: Digest,
    },
    /// The upper.
    Upper,
}
