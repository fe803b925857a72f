//! Trees on the host: how a layer, or an upper, is kept as files and directories.
//!
//! Unpacking writes such trees ([`Writer`]), the union file system reads and writes them
//! ([`Directory`]), and on Linux the kernel's overlayfs mounts them. Everything is reached by
//! directory handles, one name at a time, and no symbolic link of a tree is ever followed.

mod attributes;
mod directory;
pub(crate) mod names;
#[cfg_attr(target_os = "linux", path = "overlay_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "overlay_elsewhere.rs")]
mod overlay;
mod stat;
#[cfg(test)]
mod tests;
mod writer;

pub use attributes::Attributes;
pub use directory::{Directory, Entry};
pub use stat::Stat;
pub use writer::{TreeError, Writer};

/// How a tree of a guest is kept on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As the kernel's overlayfs keeps it, on Linux: every file as itself, a whiteout as a
    /// character device 0:0, an opaque directory by an extended attribute, which is
    /// `trusted.overlay.opaque` for root and `user.overlay.opaque` otherwise (mount option
    /// `userxattr`). Without privilege devices are left out, and owners where there is but one user.
    Overlay,
    /// On any host: escaped names; a symbolic link as a file `%l<name>` with its target, a whiteout
    /// as an empty file `%w<name>`, an opaque directory by a file `%o` in it, fifos, devices and
    /// sockets as files `%s<name>` that describe them. Modes, owners and extended attributes are
    /// left out.
    Portable,
}

impl Encoding {
    /// The encoding of this host.
    #[must_use]
    pub const fn host() -> Self {
        if cfg!(target_os = "linux") { Self::Overlay } else { Self::Portable }
    }

    /// Whether an entry is found by its name alone: the portable encoding gives each kind another host
    /// name, so that only a list of all entries tells.
    pub(crate) const fn finds_names(self) -> bool {
        matches!(self, Self::Overlay)
    }
}

/// Whether this process is root of the machine: trees that it makes have the owners and devices of their
/// entries, and what overlayfs notes is in `trusted.*` attributes.
#[must_use]
pub fn is_privileged() -> bool {
    overlay::privileged()
}

/// Whether trees that this process makes have the owners of their entries: it is root of the machine, or of a
/// user namespace with others in it.
#[must_use]
pub fn keeps_owners() -> bool {
    overlay::keeps_owners()
}

/// Major and minor number of an `st_rdev`; of no device where the host has none.
pub(crate) fn device_numbers(rdev: u64) -> (u32, u32) {
    overlay::device_numbers(rdev)
}

/// What an entry of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// The mark that a lower's entry of this name is gone.
    Whiteout,
    /// A named pipe.
    Fifo,
    /// A character device other than 0:0.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A socket.
    Socket,
}

/// A file that is neither a regular file, a directory nor a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Special {
    /// A named pipe.
    Fifo,
    /// A character device.
    Char {
        /// The device's major number.
        major: u32,
        /// The device's minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// The device's major number.
        major: u32,
        /// The device's minor number.
        minor: u32,
    },
    /// A socket.
    Socket,
}

impl Special {
    /// The kind of such an entry. A character device 0:0 is a whiteout.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Fifo => Kind::Fifo,
            Self::Char { major: 0, minor: 0 } => Kind::Whiteout,
            Self::Char { .. } => Kind::CharDevice,
            Self::Block { .. } => Kind::BlockDevice,
            Self::Socket => Kind::Socket,
        }
    }
}
