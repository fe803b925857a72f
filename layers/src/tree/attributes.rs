//! What an entry carries besides its content.

use std::time::SystemTime;

/// Mode, owner, time of change and extended attributes of an entry, as far as its encoding and the
/// host can keep them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Permissions with set-user-ID, set-group-ID and sticky: the lower twelve bits of `st_mode`.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When the content last changed.
    pub mtime: SystemTime,
    /// Extended attributes by full name, such as `security.capability`. overlayfs's own are never
    /// written.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attributes {
    /// Of root, with this mode, changed at `mtime`.
    #[must_use]
    pub const fn new(mode: u32, mtime: SystemTime) -> Self {
        Self { mode, uid: 0, gid: 0, mtime, xattrs: Vec::new() }
    }
}
