//! A directory of a tree, by an open handle.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read as _, Write as _},
    path::Path,
    time::SystemTime,
};

use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _, SystemTimeSpec};
use cap_std::{
    ambient_authority,
    fs::{Dir, Metadata, OpenOptions},
    time::SystemTime as CapTime,
};

use super::{
    Attributes, Encoding, Kind, Special, Stat,
    names::{self, Decoded},
    overlay,
};

/// A directory of a tree. Names are those of the guest, one component each; where an operation takes
/// a [`Kind`], it is the entry's, as [`entries`](Self::entries) gave it.
///
/// Errors are the host's own, without path: callers know what they were doing.
#[derive(Debug)]
pub struct Directory {
    dir: Dir,
    encoding: Encoding,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The guest's name, any bytes but `/` and NUL.
    pub name: Box<[u8]>,
    /// What it is.
    pub kind: Kind,
}

impl Directory {
    /// The directory `path` of the host as the root of a tree. This is the one place where a host
    /// path is followed as it stands.
    pub fn open_root(path: &Path, encoding: Encoding) -> io::Result<Self> {
        Ok(Self { dir: Dir::open_ambient_dir(path, ambient_authority())?, encoding })
    }

    /// Whether the root of the tree at `path` of the host hides what lowers have, for less than it
    /// costs to open it.
    pub(crate) fn is_root_opaque(path: &Path, encoding: Encoding) -> io::Result<bool> {
        match encoding {
            Encoding::Overlay => overlay::is_opaque_path(path),
            Encoding::Portable => Self::open_root(path, encoding)?.is_opaque(),
        }
    }

    /// The encoding that this tree has.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The host's handle.
    #[must_use]
    pub const fn handle(&self) -> &Dir {
        &self.dir
    }

    /// Another handle of the same directory.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { dir: self.dir.try_clone()?, encoding: self.encoding })
    }

    /// The host's name of an entry.
    fn host_name<'a>(&self, name: &'a [u8], kind: Kind) -> io::Result<Cow<'a, Path>> {
        if !names::is_name(name) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match self.encoding {
            Encoding::Overlay => Ok(Cow::Borrowed(path_of(name)?)),
            Encoding::Portable => Ok(Cow::Owned(names::encode(name, kind).name.into())),
        }
    }

    /// The host's name of an entry that is about to be made.
    fn new_host_name<'a>(&self, name: &'a [u8], kind: Kind) -> io::Result<Cow<'a, Path>> {
        let host = self.host_name(name, kind)?;
        if self.encoding == Encoding::Portable
            && let Some(sibling) = names::encode(name, kind).long_name_file
        {
            self.dir.write(sibling, name)?;
        }
        Ok(host)
    }

    /// All entries, whiteouts among them, in no particular order.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        self.listing().map(|(entries, _)| entries)
    }

    /// All entries, and whether what lowers have is hidden, for less than it costs to ask for both.
    pub(crate) fn listing(&self) -> io::Result<(Vec<Entry>, bool)> {
        if self.encoding == Encoding::Overlay {
            return overlay::listing(&self.dir);
        }
        let mut entries = Vec::new();
        for entry in self.dir.entries()? {
            let entry = entry?;
            let found = match entry.file_name().to_str() {
                Some(host) => self.decode(host, entry.file_type()?)?,
                None => None,
            };
            entries.extend(found.map(|(name, kind)| Entry { name, kind }));
        }
        Ok((entries, self.is_opaque()?))
    }

    /// What the entry `name` is, if there is one, where the encoding [finds
    /// names](Encoding::finds_names).
    pub(crate) fn find(&self, name: &[u8]) -> io::Result<Option<Kind>> {
        match self.encoding {
            Encoding::Overlay => overlay::find(&self.dir, &self.host_name(name, Kind::File)?),
            Encoding::Portable => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The guest's entry that a host name of the portable encoding stands for, if any.
    fn decode(
        &self,
        host: &str,
        file_type: cap_std::fs::FileType,
    ) -> io::Result<Option<(Box<[u8]>, Kind)>> {
        let decoded = match names::decode(host) {
            Decoded::Hashed { prefix, long_name_file } => {
                let name = self.dir.read(long_name_file)?;
                if !names::is_name(&name) {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Decoded::with_prefix(prefix, name)
            }
            decoded => decoded,
        };
        Ok(match decoded {
            Decoded::Plain(name) if file_type.is_dir() => Some((name.into(), Kind::Directory)),
            Decoded::Plain(name) if file_type.is_file() => Some((name.into(), Kind::File)),
            Decoded::Symlink(name) => Some((name.into(), Kind::Symlink)),
            Decoded::Whiteout(name) => Some((name.into(), Kind::Whiteout)),
            Decoded::Special(name) => {
                let special: Special = serde_json::from_slice(&self.dir.read(host)?)?;
                Some((name.into(), special.kind()))
            }
            Decoded::Plain(_) | Decoded::Nothing | Decoded::Hashed { .. } => None,
        })
    }

    /// Whether what lowers have in this directory is hidden.
    pub fn is_opaque(&self) -> io::Result<bool> {
        match self.encoding {
            Encoding::Overlay => overlay::is_opaque(&self.dir),
            Encoding::Portable => self.dir.try_exists(names::OPAQUE),
        }
    }

    /// Hides what lowers have in this directory. Its times stay.
    pub fn set_opaque(&self) -> io::Result<()> {
        match self.encoding {
            Encoding::Overlay => overlay::set_opaque(&self.dir),
            Encoding::Portable => {
                let times = self.stat_self()?;
                self.dir.write(names::OPAQUE, b"")?;
                self.set_own_times(Some(times.atime), Some(times.mtime))
            }
        }
    }

    /// The directory `name`.
    pub fn open_dir(&self, name: &[u8]) -> io::Result<Self> {
        let dir = self.dir.open_dir_nofollow(self.host_name(name, Kind::Directory)?)?;
        Ok(Self { dir, encoding: self.encoding })
    }

    /// The directory at `path`, whose components are known to be directories.
    pub(crate) fn open_dir_at<'a>(&self, path: impl Iterator<Item = &'a [u8]>) -> io::Result<Self> {
        let mut host = std::path::PathBuf::new();
        for name in path {
            host.push(self.host_name(name, Kind::Directory)?);
        }
        if host.as_os_str().is_empty() {
            return self.try_clone();
        }
        Ok(Self { dir: self.dir.open_dir_nofollow(host)?, encoding: self.encoding })
    }

    /// The regular file `name`, opened to read or also to write.
    pub fn open_file(&self, name: &[u8], write: bool) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(write).follow(FollowSymlinks::No);
        let file = self.dir.open_with(self.host_name(name, Kind::File)?, &options)?;
        Ok(file.into_std())
    }

    /// A new regular file, open to read and write. Fails if there is one.
    pub fn create_file(&self, name: &[u8], mode: u32) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).follow(FollowSymlinks::No);
        #[cfg(unix)]
        {
            use cap_std::fs::OpenOptionsExt as _;
            let mode = if self.encoding == Encoding::Overlay { mode & 0o7777 } else { 0o644 };
            options.mode(mode);
        }
        #[cfg(not(unix))]
        let _ = mode;
        Ok(self.dir.open_with(self.new_host_name(name, Kind::File)?, &options)?.into_std())
    }

    /// A new directory. Fails if there is an entry of its name.
    pub fn make_dir(&self, name: &[u8], mode: u32) -> io::Result<()> {
        let host = self.new_host_name(name, Kind::Directory)?;
        self.dir.create_dir(&host)?;
        match self.encoding {
            Encoding::Overlay => overlay::set_mode(&self.dir, &host, mode),
            Encoding::Portable => Ok(()),
        }
    }

    /// A new symbolic link.
    pub fn symlink(&self, name: &[u8], target: &[u8]) -> io::Result<()> {
        let host = self.new_host_name(name, Kind::Symlink)?;
        match self.encoding {
            #[cfg(unix)]
            Encoding::Overlay => self.dir.symlink_contents(path_of(target)?, host),
            #[cfg(not(unix))]
            Encoding::Overlay => Err(io::ErrorKind::Unsupported.into()),
            Encoding::Portable => self.create_with(&host, target),
        }
    }

    fn create_with(&self, host: &Path, content: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).follow(FollowSymlinks::No);
        self.dir.open_with(host, &options)?.write_all(content)
    }

    /// The target of the symbolic link `name`.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        let host = self.host_name(name, Kind::Symlink)?;
        match self.encoding {
            Encoding::Overlay => {
                Ok(bytes_of(self.dir.read_link_contents(host)?.as_os_str()).into_owned())
            }
            Encoding::Portable => {
                let mut options = OpenOptions::new();
                options.read(true).follow(FollowSymlinks::No);
                let mut target = Vec::new();
                self.dir.open_with(host, &options)?.read_to_end(&mut target)?;
                Ok(target)
            }
        }
    }

    /// A second name, `to_name` in `to`, for the entry `name`.
    pub fn hard_link(&self, name: &[u8], kind: Kind, to: &Self, to_name: &[u8]) -> io::Result<()> {
        self.dir.hard_link(self.host_name(name, kind)?, &to.dir, to.new_host_name(to_name, kind)?)
    }

    /// A fifo, device or socket. Without privilege the host refuses devices (`PermissionDenied`).
    pub fn make_special(&self, name: &[u8], special: Special, mode: u32) -> io::Result<()> {
        let host = self.new_host_name(name, special.kind())?;
        match self.encoding {
            Encoding::Overlay => overlay::make_special(&self.dir, &host, special, mode),
            Encoding::Portable if special.kind() == Kind::Whiteout => self.create_with(&host, b""),
            Encoding::Portable => self.create_with(&host, &serde_json::to_vec(&special)?),
        }
    }

    /// What the fifo, device or socket `name` is.
    pub fn read_special(&self, name: &[u8], kind: Kind) -> io::Result<Special> {
        let host = self.host_name(name, kind)?;
        if self.encoding == Encoding::Portable {
            return Ok(serde_json::from_slice(&self.dir.read(host)?)?);
        }
        let (major, minor) = overlay::device_numbers(self.stat(name, kind)?.rdev);
        match kind {
            Kind::Fifo => Ok(Special::Fifo),
            Kind::Socket => Ok(Special::Socket),
            Kind::CharDevice | Kind::Whiteout => Ok(Special::Char { major, minor }),
            Kind::BlockDevice => Ok(Special::Block { major, minor }),
            Kind::File | Kind::Directory | Kind::Symlink => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// The mark that a lower's entry `name` is gone.
    pub fn make_whiteout(&self, name: &[u8]) -> io::Result<()> {
        self.make_special(name, Special::Char { major: 0, minor: 0 }, 0)
    }

    /// Removes an entry; a directory must be empty, markers and whiteouts apart, which go with it.
    pub fn remove(&self, name: &[u8], kind: Kind) -> io::Result<()> {
        let host = self.host_name(name, kind)?;
        if kind != Kind::Directory {
            return self.dir.remove_file(host);
        }
        match self.dir.remove_dir(&host) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                self.open_dir(name)?.clear_marks()?;
                self.dir.remove_dir(host)
            }
            result => result,
        }
    }

    /// Removes whiteouts, marks and names kept aside, if there is nothing else.
    fn clear_marks(&self) -> io::Result<()> {
        if self.entries()?.iter().any(|entry| entry.kind != Kind::Whiteout) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        for entry in self.dir.entries()? {
            self.dir.remove_file(entry?.file_name())?;
        }
        Ok(())
    }

    /// Removes an entry with all that is in it, whatever the permissions of its directories: that in
    /// which overlayfs works has none.
    pub fn remove_all(&self, name: &[u8], kind: Kind) -> io::Result<()> {
        let host = self.host_name(name, kind)?;
        if kind != Kind::Directory {
            return self.dir.remove_file(host);
        }
        match self.dir.remove_dir_all(&host) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                crate::files::open_up_below(&self.dir, &host)?;
                self.dir.remove_dir_all(host)
            }
            removed => removed,
        }
    }

    /// Moves an entry to `to_name` in `to`, in place of an entry of the same host name, as
    /// rename(2). Kinds other than directories share theirs in the encoding of overlayfs.
    pub fn rename(&self, name: &[u8], kind: Kind, to: &Self, to_name: &[u8]) -> io::Result<()> {
        self.dir.rename(self.host_name(name, kind)?, &to.dir, to.new_host_name(to_name, kind)?)
    }

    /// Moves an entry to `to_name` in `to`, in place of an entry of any kind, whose place is not empty at
    /// any time where the host can do that. A directory in the way must be empty, marks apart.
    pub fn replace(
        &self,
        name: &[u8],
        kind: Kind,
        to: &Self,
        to_name: &[u8],
        in_place_of: Option<Kind>,
    ) -> io::Result<()> {
        let Some(other) = in_place_of else { return self.rename(name, kind, to, to_name) };
        let directories = (kind == Kind::Directory, other == Kind::Directory);
        match (self.encoding, directories) {
            (_, (true, true)) => {
                to.remove(to_name, other)?;
                self.rename(name, kind, to, to_name)
            }
            (Encoding::Overlay, (false, false)) => self.rename(name, kind, to, to_name),
            (Encoding::Overlay, _) => {
                let hosts = (self.host_name(name, kind)?, to.host_name(to_name, kind)?);
                overlay::exchange(&self.dir, &hosts.0, &to.dir, &hosts.1)?;
                self.remove(name, other)
            }
            (Encoding::Portable, _) => {
                self.rename(name, kind, to, to_name)?;
                // Of entries with different host names, the newer counts even before the other is gone.
                if to.host_name(to_name, kind)? == to.host_name(to_name, other)? {
                    return Ok(());
                }
                to.remove(to_name, other)
            }
        }
    }

    /// What the host says about an entry.
    pub fn stat(&self, name: &[u8], kind: Kind) -> io::Result<Stat> {
        let metadata = self.dir.symlink_metadata(self.host_name(name, kind)?)?;
        Ok(self.stat_of(&metadata, kind))
    }

    /// What the host says about this directory.
    pub fn stat_self(&self) -> io::Result<Stat> {
        Ok(self.stat_of(&self.dir.dir_metadata()?, Kind::Directory))
    }

    /// What the host says about an open file of this tree.
    pub fn stat_file(&self, file: &File) -> io::Result<Stat> {
        Ok(self.stat_of(&Metadata::from_file(file)?, Kind::File))
    }

    fn stat_of(&self, metadata: &Metadata, kind: Kind) -> Stat {
        let mode = match kind {
            Kind::Directory => 0o755,
            Kind::Symlink => 0o777,
            _ => 0o644,
        };
        Stat::of(metadata, (self.encoding == Encoding::Portable).then_some(mode))
    }

    /// The attributes of an entry, as far as the encoding keeps them.
    pub fn attributes(&self, name: &[u8], kind: Kind) -> io::Result<Attributes> {
        let stat = self.stat(name, kind)?;
        let xattrs = match self.encoding {
            Encoding::Overlay => overlay::xattrs(&self.dir, &self.host_name(name, kind)?, kind)?,
            Encoding::Portable => Vec::new(),
        };
        Ok(Attributes { mode: stat.mode, uid: stat.uid, gid: stat.gid, mtime: stat.mtime, xattrs })
    }

    /// Gives an entry its attributes, as far as the encoding keeps them.
    pub fn set_attributes(
        &self,
        name: &[u8],
        kind: Kind,
        attributes: &Attributes,
    ) -> io::Result<()> {
        match self.encoding {
            Encoding::Overlay => {
                overlay::apply(&self.dir, &self.host_name(name, kind)?, kind, attributes)
            }
            Encoding::Portable => self.set_times(name, kind, None, Some(attributes.mtime)),
        }
    }

    /// Gives this directory itself its attributes, as far as the encoding keeps them.
    pub(super) fn set_own_attributes(&self, attributes: &Attributes) -> io::Result<()> {
        match self.encoding {
            Encoding::Overlay => {
                overlay::apply(&self.dir, Path::new("."), Kind::Directory, attributes)
            }
            Encoding::Portable => self.set_own_times(None, Some(attributes.mtime)),
        }
    }

    /// Gives an open file of this tree its attributes, as far as the encoding keeps them.
    pub fn set_file_attributes(&self, file: &File, attributes: &Attributes) -> io::Result<()> {
        match self.encoding {
            Encoding::Overlay => overlay::apply_to_file(file, attributes),
            Encoding::Portable => file.set_modified(attributes.mtime),
        }
    }

    /// Sets times of an entry, those given.
    pub fn set_times(
        &self,
        name: &[u8],
        kind: Kind,
        atime: Option<SystemTime>,
        mtime: Option<SystemTime>,
    ) -> io::Result<()> {
        let spec = |time| SystemTimeSpec::Absolute(CapTime::from_std(time));
        self.dir.set_symlink_times(self.host_name(name, kind)?, atime.map(spec), mtime.map(spec))
    }

    /// Sets times of this directory itself, those given.
    pub(crate) fn set_own_times(
        &self,
        atime: Option<SystemTime>,
        mtime: Option<SystemTime>,
    ) -> io::Result<()> {
        let spec = |time| SystemTimeSpec::Absolute(CapTime::from_std(time));
        self.dir.set_times(".", atime.map(spec), mtime.map(spec))
    }

    /// Makes the names in this directory durable. Windows keeps them without being asked.
    pub(crate) fn sync(&self) -> io::Result<()> {
        if cfg!(windows) { Ok(()) } else { self.dir.open(".")?.sync_all() }
    }

    /// Sets the permissions of this directory itself.
    pub(crate) fn set_own_mode(&self, mode: u32) -> io::Result<()> {
        match self.encoding {
            Encoding::Overlay => overlay::set_mode(&self.dir, Path::new("."), mode),
            Encoding::Portable => Ok(()),
        }
    }

    /// Sets the owner of an entry; nothing where the encoding has none or without privilege.
    pub(crate) fn set_owner(&self, name: &[u8], uid: u32, gid: u32) -> io::Result<()> {
        match self.encoding {
            Encoding::Overlay => {
                overlay::set_owner(&self.dir, &self.host_name(name, Kind::File)?, Some(uid), gid)
            }
            Encoding::Portable => Ok(()),
        }
    }

    /// Sets the group of an entry; nothing where the encoding has none or without privilege.
    pub(crate) fn set_group(&self, name: &[u8], group: u32) -> io::Result<()> {
        match self.encoding {
            Encoding::Overlay => {
                overlay::set_owner(&self.dir, &self.host_name(name, Kind::File)?, None, group)
            }
            Encoding::Portable => Ok(()),
        }
    }

    /// Sets the permissions of an entry that is no symbolic link; nothing where the encoding has none.
    pub fn set_mode(&self, name: &[u8], mode: u32) -> io::Result<()> {
        match self.encoding {
            Encoding::Overlay => {
                overlay::set_mode(&self.dir, &self.host_name(name, Kind::File)?, mode)
            }
            Encoding::Portable => Ok(()),
        }
    }
}

/// A name as the host's; only Unix takes any bytes.
#[cfg_attr(unix, expect(clippy::unnecessary_wraps, reason = "other hosts refuse some"))]
fn path_of(name: &[u8]) -> io::Result<&Path> {
    #[cfg(unix)]
    return Ok(Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name)));
    #[cfg(not(unix))]
    return str::from_utf8(name).map(Path::new).map_err(|_| io::ErrorKind::InvalidInput.into());
}

fn bytes_of(name: &std::ffi::OsStr) -> Cow<'_, [u8]> {
    Cow::Borrowed(name.as_encoded_bytes())
}
