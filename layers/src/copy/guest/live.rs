//! Files of the host that others change meanwhile: the root of a guest that runs, or a volume.
//!
//! Every call takes one name in an open directory and follows no link at it, so a link that a guest
//! puts there at the last moment is an error and no way out. What is read is looked at once it is
//! open; what is written is made new and got at by its handle from then on.

use std::{
    fs,
    io::{self, Read, Write as _},
    path::Path,
    sync::Arc,
};

use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::{
    ambient_authority,
    fs::{Dir, File, FileType, Metadata, OpenOptions},
};

use super::{Given, GuestTree, Seen, unpack::copy_pieces};
use crate::{
    tree::Stat,
    union::{FileKind, FsError, FsResult},
};

/// A tree below a directory of the host.
#[derive(Clone, Debug)]
pub struct LiveTree {
    root: Arc<Dir>,
    left_out: &'static [&'static str],
    ids: Option<IdRange>,
}

/// The user and group ids of a guest whose own user namespace has but one range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// What 0 inside is outside.
    pub first: u32,
    /// How many there are.
    pub size: u32,
}

impl IdRange {
    /// Who has no id inside: the kernel's `overflowuid`.
    const NOBODY: u32 = 65_534;

    fn inside(self, id: u32) -> u32 {
        let inside = id.checked_sub(self.first).filter(|id| *id < self.size);
        inside.unwrap_or(Self::NOBODY)
    }

    fn outside(self, id: u32) -> FsResult<u32> {
        let outside = self.first.checked_add(id).filter(|_| id < self.size);
        outside.ok_or(FsError::Invalid)
    }
}

impl LiveTree {
    /// The tree below an open directory. Of paths `left_out`, without `/` at their ends, there is
    /// nothing in a copy of what is above them.
    #[must_use]
    pub fn new(root: fs::File, left_out: &'static [&'static str]) -> Self {
        Self { root: Arc::new(Dir::from_std_file(root)), left_out, ids: None }
    }

    /// The same, of a guest with ids of its own. What is made belongs to whoever the thread acts as.
    #[must_use]
    pub const fn with_ids(mut self, ids: IdRange) -> Self {
        self.ids = Some(ids);
        self
    }

    /// As the guest sees it.
    fn inside(&self, mut seen: Seen) -> Seen {
        if let Some(ids) = self.ids {
            seen.stat.uid = ids.inside(seen.stat.uid);
            seen.stat.gid = ids.inside(seen.stat.gid);
        }
        seen
    }

    /// As the host sees it.
    fn outside(&self, given: &Given) -> FsResult<Given> {
        let mut given = *given;
        if let (Some(ids), Some((uid, gid))) = (self.ids, given.owner) {
            given.owner = Some((ids.outside(uid)?, ids.outside(gid)?));
        }
        Ok(given)
    }

    /// The tree below a directory of the host, whose path is followed as it stands.
    pub fn open(root: &Path) -> io::Result<Self> {
        let root = Arc::new(Dir::open_ambient_dir(root, ambient_authority())?);
        Ok(Self { root, left_out: &[], ids: None })
    }

    /// Opens a regular file to read it.
    pub(super) fn open_file(parent: &Dir, name: &[u8]) -> FsResult<(Seen, File)> {
        let mut options = OpenOptions::new();
        options.read(true);
        let file = open(parent, name, &mut options)?;
        Ok((seen(&file.metadata()?), file))
    }

    /// Replaces a file's content: what something is mounted on, or is mounted itself, cannot be made
    /// anew.
    pub(super) fn rewrite(
        parent: &Dir,
        name: &[u8],
        content: &mut dyn Read,
        given: &Given,
    ) -> FsResult<()> {
        let mut options = OpenOptions::new();
        options.write(true);
        let file = open(parent, name, &mut options)?;
        file.set_len(0)?;
        fill(file, content, given)
    }
}

/// Opens a regular file. It waits for no pipe that took its place.
fn open(parent: &Dir, name: &[u8], options: &mut OpenOptions) -> FsResult<File> {
    options.follow(FollowSymlinks::No);
    #[cfg(unix)]
    cap_fs_ext::OpenOptionsSyncExt::nonblock(options, true);
    let file = parent.open_with(host::path(name)?, options)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(FsError::Unsupported) }
}

fn fill(file: File, content: &mut dyn Read, given: &Given) -> FsResult<()> {
    let mut file = file.into_std();
    copy_pieces(content, |piece, _| Ok(file.write(piece)?))?;
    host::give(&file, given)?;
    Ok(file.set_modified(given.mtime)?)
}

fn seen(metadata: &Metadata) -> Seen {
    Seen { kind: kind(metadata.file_type()), stat: Stat::of(metadata, None) }
}

fn kind(file_type: FileType) -> FileKind {
    if file_type.is_dir() {
        FileKind::Directory
    } else if file_type.is_symlink() {
        FileKind::Symlink
    } else {
        host::special(file_type).unwrap_or(FileKind::File)
    }
}

impl GuestTree for LiveTree {
    type Directory = Arc<Dir>;

    fn root(&self) -> FsResult<Arc<Dir>> {
        Ok(Arc::clone(&self.root))
    }

    fn look(&self, parent: &Arc<Dir>, name: &[u8]) -> FsResult<Seen> {
        Ok(self.inside(seen(&parent.symlink_metadata(host::path(name)?)?)))
    }

    fn look_at(&self, directory: &Arc<Dir>) -> FsResult<Seen> {
        Ok(self.inside(seen(&directory.dir_metadata()?)))
    }

    fn enter(&self, parent: &Arc<Dir>, name: &[u8]) -> FsResult<Arc<Dir>> {
        Ok(Arc::new(parent.open_dir_nofollow(host::path(name)?)?))
    }

    fn list(&self, directory: &Arc<Dir>) -> FsResult<Vec<Box<[u8]>>> {
        let name = |entry: io::Result<cap_std::fs::DirEntry>| {
            Ok(entry?.file_name().into_encoded_bytes().into_boxed_slice())
        };
        directory.entries()?.map(name).collect()
    }

    fn target(&self, parent: &Arc<Dir>, name: &[u8]) -> FsResult<Vec<u8>> {
        let target = parent.read_link_contents(host::path(name)?)?;
        Ok(target.into_os_string().into_encoded_bytes())
    }

    fn read(&self, parent: &Arc<Dir>, name: &[u8]) -> FsResult<(Seen, Box<dyn Read + '_>)> {
        let (seen, file) = Self::open_file(parent, name)?;
        Ok((self.inside(seen), Box::new(file)))
    }

    fn write(
        &self,
        parent: &Arc<Dir>,
        name: &[u8],
        content: &mut dyn Read,
        given: &Given,
    ) -> FsResult<()> {
        let path = host::path(name)?;
        let given = &self.outside(given)?;
        match parent.remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                return Self::rewrite(parent, name, content, given);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).follow(FollowSymlinks::No);
        host::make_private(&mut options);
        fill(parent.open_with(path, &options)?, content, given)
    }

    fn make_directory(&self, parent: &Arc<Dir>, name: &[u8]) -> FsResult<Arc<Dir>> {
        parent.create_dir_with(host::path(name)?, &host::private_directory())?;
        self.enter(parent, name)
    }

    fn finish(&self, directory: &Arc<Dir>, given: &Given) -> FsResult<()> {
        Ok(host::finish(directory, &self.outside(given)?)?)
    }

    fn symlink(
        &self,
        parent: &Arc<Dir>,
        name: &[u8],
        target: &[u8],
        given: &Given,
    ) -> FsResult<()> {
        Ok(host::symlink(parent, host::path(name)?, target, &self.outside(given)?)?)
    }

    fn link(&self, from: (&Arc<Dir>, &[u8]), to: (&Arc<Dir>, &[u8])) -> FsResult<()> {
        Ok(from.0.hard_link(host::path(from.1)?, to.0, host::path(to.1)?)?)
    }

    fn remove(&self, parent: &Arc<Dir>, name: &[u8]) -> FsResult<()> {
        Ok(parent.remove_file(host::path(name)?)?)
    }

    fn leaves_out(&self, path: &[u8]) -> bool {
        self.left_out.iter().any(|left_out| left_out.as_bytes() == path)
    }
}

/// Where host systems differ.
#[cfg(unix)]
mod host {
    use std::{ffi::OsStr, fs, io, os::unix::ffi::OsStrExt as _, path::Path};

    use cap_fs_ext::{DirExt as _, SystemTimeSpec};
    use cap_std::fs::{
        Dir, DirBuilder, DirBuilderExt as _, FileType, FileTypeExt as _, OpenOptions,
        OpenOptionsExt as _,
    };

    use super::{FileKind, FsResult, Given};

    #[expect(clippy::unnecessary_wraps, reason = "other hosts refuse some")]
    pub(super) fn path(name: &[u8]) -> FsResult<&Path> {
        Ok(Path::new(OsStr::from_bytes(name)))
    }

    pub(super) fn special(file_type: FileType) -> Option<FileKind> {
        let kinds = [
            (file_type.is_char_device(), FileKind::CharDevice),
            (file_type.is_block_device(), FileKind::BlockDevice),
            (file_type.is_fifo(), FileKind::Fifo),
            (file_type.is_socket(), FileKind::Socket),
        ];
        kinds.into_iter().find_map(|(is, kind)| is.then_some(kind))
    }

    pub(super) fn make_private(options: &mut OpenOptions) {
        options.mode(0o600);
    }

    pub(super) fn private_directory() -> DirBuilder {
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        builder
    }

    /// The owner first: changing it clears set-user-ID (chown(2)).
    pub(super) fn give(file: &fs::File, given: &Given) -> io::Result<()> {
        use std::os::unix::fs::{PermissionsExt as _, fchown};
        if let Some((uid, gid)) = given.owner {
            fchown(file, Some(uid), Some(gid))?;
        }
        file.set_permissions(fs::Permissions::from_mode(given.mode & 0o7777))
    }

    pub(super) fn finish(directory: &Dir, given: &Given) -> io::Result<()> {
        let file = directory.open(".")?.into_std();
        give(&file, given)?;
        file.set_modified(given.mtime)
    }

    pub(super) fn symlink(
        parent: &Dir,
        name: &Path,
        target: &[u8],
        given: &Given,
    ) -> io::Result<()> {
        parent.symlink_contents(OsStr::from_bytes(target), name)?;
        if let Some(owner) = given.owner {
            give_link(parent, name, owner)?;
        }
        let mtime = cap_std::time::SystemTime::from_std(given.mtime);
        parent.set_symlink_times(name, None, Some(SystemTimeSpec::Absolute(mtime)))
    }

    #[cfg(target_os = "linux")]
    fn give_link(parent: &Dir, name: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
        use rustix::fs::{AtFlags, Gid, Uid, chownat};
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        Ok(chownat(parent, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Owners are kept on Linux alone.
    #[cfg(not(target_os = "linux"))]
    fn give_link(_: &Dir, _: &Path, _: (u32, u32)) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Where host systems differ.
#[cfg(not(unix))]
mod host {
    use std::{fs, io, path::Path};

    use cap_fs_ext::{DirExt as _, SystemTimeSpec};
    use cap_std::fs::{Dir, DirBuilder, FileType, OpenOptions};

    use super::{FileKind, FsError, FsResult, Given};

    /// What the host reads as more than one name is refused: separators, drives and streams.
    pub(super) fn path(name: &[u8]) -> FsResult<&Path> {
        match str::from_utf8(name) {
            Ok(name) if !name.contains(['\\', ':', '<', '>', '"', '|', '?', '*']) => {
                Ok(Path::new(name))
            }
            _ => Err(FsError::Invalid),
        }
    }

    pub(super) fn special(_: FileType) -> Option<FileKind> {
        None
    }

    pub(super) fn make_private(_: &mut OpenOptions) {}

    pub(super) fn private_directory() -> DirBuilder {
        DirBuilder::new()
    }

    #[expect(clippy::unnecessary_wraps, reason = "other hosts fail")]
    pub(super) fn give(_: &fs::File, _: &Given) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn finish(directory: &Dir, given: &Given) -> io::Result<()> {
        let mtime = cap_std::time::SystemTime::from_std(given.mtime);
        directory.set_times(".", None, Some(SystemTimeSpec::Absolute(mtime)))
    }

    /// Links need a privilege on Windows, and know beforehand whether they lead to a directory.
    pub(super) fn symlink(parent: &Dir, name: &Path, target: &[u8], _: &Given) -> io::Result<()> {
        let target = str::from_utf8(target).map_err(|_| io::ErrorKind::InvalidInput)?;
        parent.symlink_file(target, name)
    }
}
