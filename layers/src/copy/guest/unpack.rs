//! From an archive to a guest.

use std::{
    io::{self, Read},
    path::Path,
    time::SystemTime,
};

use tar::EntryType;

use super::{CopyIn, Given, GuestTree, walk};
use crate::{
    copy::{
        entries::{self, Content},
        place::{self, CopyError, Place, Target},
    },
    error::Error,
    streams::Watched,
    tarball::{Entry, Reader},
    union::{FileKind, Follow, FsError},
};

/// Permissions of directories that an archive has no entry for.
const DIRECTORY_MODE: u32 = 0o755;
/// `S_ISUID` and `S_ISGID` of inode(7).
const SET_IDS: u32 = 0o6000;

/// Unpacks `archive` at `path`.
pub(super) fn unpack<T: GuestTree>(
    tree: &T,
    archive: &mut dyn Read,
    path: &str,
    what: &CopyIn,
) -> Result<Vec<String>, CopyError> {
    let Destination { base: directory, first, is_itself } = destination(tree, path, what)?;
    // A copy under the path's own last name is made in the directory before it.
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let base = if is_itself { parent } else { path };
    let side = Side::Guest { base, what };
    let stripped = usize::from(what.source.is_some());
    Unpacker { tree, base: directory, stripped, first, side, open: Vec::new(), skipped: Vec::new() }
        .all(None, &mut Reader::new(archive))
}

/// On whose side an archive is unpacked, and how.
pub(in crate::copy) enum Side<'a> {
    /// The base is a path for messages.
    Guest {
        base: &'a str,
        what: &'a CopyIn,
    },
    Host {
        directory: &'a Path,
        owners: bool,
    },
}

impl Side<'_> {
    const fn owners(&self) -> bool {
        match self {
            Self::Guest { what, .. } => what.owners,
            Self::Host { owners, .. } => *owners,
        }
    }

    /// What a copy gets of its original.
    fn given(&self, entry: &Entry) -> Result<Given, CopyError> {
        let mut given = entries::given(entry, self.owners())?;
        if matches!(self, Self::Host { owners: false, .. }) {
            given.mode &= !SET_IDS;
        }
        Ok(given)
    }

    /// The path of what is at `name` below where the copy goes, for messages.
    fn shown(&self, name: &str) -> String {
        match self {
            Self::Guest { base, .. } => format!("{}/{name}", base.trim_end_matches('/')),
            Self::Host { directory, .. } => directory.join(name).display().to_string(),
        }
    }

    /// The failure to write what is at `name`.
    fn failed(&self, name: &str) -> impl FnOnce(FsError) -> CopyError + use<> {
        let (path, is_guest) = (self.shown(name), matches!(self, Self::Guest { .. }));
        move |source| {
            if is_guest {
                CopyError::Guest { path, source }
            } else {
                CopyError::Target { path, source }
            }
        }
    }
}

/// Where a copy goes.
struct Destination<D> {
    base: D,
    /// Its name there, where it has one of its own.
    first: Option<Vec<u8>>,
    /// Whether that is the last of the path that was named, or what a link there leads to.
    is_itself: bool,
}

fn destination<T: GuestTree>(
    tree: &T,
    path: &str,
    what: &CopyIn,
) -> Result<Destination<T::Directory>, CopyError> {
    let guest = || CopyError::guest(path);
    let found = walk::resolve(tree, path.as_bytes(), Follow::All).map_err(guest())?;
    let target = match &found {
        walk::Found::Directory { .. } => Target::Directory,
        walk::Found::Entry { .. } => Target::File,
        walk::Found::Missing { .. } => Target::Missing,
    };
    let place = match &what.source {
        None if target == Target::Directory => Place::Content,
        None => return Err(CopyError::NoDirectory { path: path.to_owned() }),
        Some(source) => place::place(source, target)?,
    };
    let (base, first, is_itself) = match (found, place) {
        (walk::Found::Directory { directory, .. }, Place::Below(name)) => {
            (directory, Some(name.into_bytes()), false)
        }
        (walk::Found::Directory { directory, .. }, _) => (directory, None, false),
        (walk::Found::Entry { parent, name } | walk::Found::Missing { parent, name }, _) => {
            (parent, Some(name), true)
        }
    };
    Ok(Destination { base, first, is_itself })
}

/// Writes the entries of an archive below a directory.
pub(in crate::copy) struct Unpacker<'a, T: GuestTree> {
    tree: &'a T,
    base: T::Directory,
    /// How many names at the beginning of each path give way to `first`, or to none.
    stripped: usize,
    first: Option<Vec<u8>>,
    side: Side<'a>,
    /// The directories that lead to the latest entry.
    open: Vec<Open<T::Directory>>,
    skipped: Vec<String>,
}

struct Open<D> {
    name: Vec<u8>,
    directory: D,
    /// Of one that was made: what it gets when all is in it.
    given: Option<Given>,
}

impl<'a, T: GuestTree> Unpacker<'a, T> {
    /// One that writes below the root of `tree` what an archive has whose first entry is `entry`: the
    /// copy itself, which becomes `first`, or the root.
    pub(in crate::copy) fn new(
        tree: &'a T,
        side: Side<'a>,
        entry: &Entry,
        first: Option<Vec<u8>>,
    ) -> Result<Self, CopyError> {
        let base = tree.root().map_err(side.failed(""))?;
        // All of a guest's files are below no name.
        let stripped = entries::names(&entry.path)?.len().min(1);
        Ok(Self { tree, base, stripped, first, side, open: Vec::new(), skipped: Vec::new() })
    }

    /// Writes the entry that was read last, if any was, and all that follow.
    pub(in crate::copy) fn all(
        mut self,
        read: Option<Entry>,
        reader: &mut Reader<impl Read>,
    ) -> Result<Vec<String>, CopyError> {
        let unpacked = self.entries(read, reader);
        // What was made before a failure is left as it should be, as far as it got.
        let left = self.leave(0);
        unpacked.and(left).map(|()| self.skipped)
    }

    fn entries(
        &mut self,
        read: Option<Entry>,
        reader: &mut Reader<impl Read>,
    ) -> Result<(), CopyError> {
        let mut next = read;
        loop {
            let entry = match next.take() {
                Some(entry) => entry,
                None => match entries::next(reader)? {
                    Some(entry) => entry,
                    None => return Ok(()),
                },
            };
            self.entry(&entry, reader)?;
        }
    }

    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), CopyError> {
        let names = self.names(&entry.path)?;
        let Some((name, above)) = names.split_last() else { return Ok(()) };
        let shown = String::from_utf8_lossy(&names.join(&b'/')).into_owned();
        let kind = entries::kind(entry);
        let given = self.side.given(entry)?;
        if matches!(kind, EntryType::Fifo | EntryType::Char | EntryType::Block) {
            self.skipped.push(crate::error::shown(&entry.path));
            return Ok(());
        }
        let parent = self.descend(above)?;
        if kind == EntryType::Directory {
            return self.directory(&parent, name, given, &shown);
        }
        self.make_way(&parent, name, kind, &shown)?;
        let made = match kind {
            EntryType::Symlink => self.tree.symlink(&parent, name, &entry.link, &given),
            EntryType::Link => return self.link(entry, (&parent, name), &shown),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let mut content = Watched::new(Content::of(entry, content)?);
                let written = self.tree.write(&parent, name, &mut content, &given);
                if let Some(error) = content.error {
                    return Err(Error::read(entries::WHAT)(error).into());
                }
                written
            }
            _ => return Err(entries::refused(entry, "its type is unknown").into()),
        };
        made.map_err(self.side.failed(&shown))
    }

    /// The names that lead from the base to the entry at `path`.
    fn names(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, CopyError> {
        let names = entries::names(path)?;
        let below = names.into_iter().skip(self.stripped);
        Ok(self.first.clone().into_iter().chain(below).collect())
    }

    /// The directory below the base that `names` lead to; makes what is missing.
    fn descend(&mut self, names: &[Vec<u8>]) -> Result<T::Directory, CopyError> {
        let common = self.open.iter().zip(names).take_while(|(open, name)| open.name == **name);
        let common = common.count();
        self.leave(common)?;
        for (index, name) in names.iter().enumerate().skip(common) {
            let parent = self.here();
            let given = Given { mode: DIRECTORY_MODE, mtime: SystemTime::now(), owner: None };
            let shown = String::from_utf8_lossy(&names[..=index].join(&b'/')).into_owned();
            self.directory(&parent, name, given, &shown)?;
        }
        Ok(self.here())
    }

    fn here(&self) -> T::Directory {
        self.open.last().map_or(&self.base, |open| &open.directory).clone()
    }

    /// Finishes all open directories but the first `kept`.
    fn leave(&mut self, kept: usize) -> Result<(), CopyError> {
        while self.open.len() > kept {
            let Some(open) = self.open.pop() else { break };
            if let Some(given) = &open.given {
                let finished = self.tree.finish(&open.directory, given);
                finished.map_err(self.side.failed(&String::from_utf8_lossy(&open.name)))?;
            }
        }
        Ok(())
    }

    /// Opens a directory, which is made where there is none. One that was there stays as it is.
    fn directory(
        &mut self,
        parent: &T::Directory,
        name: &[u8],
        given: Given,
        shown: &str,
    ) -> Result<(), CopyError> {
        let (directory, given) = match self.tree.look(parent, name) {
            Ok(seen) if seen.kind == FileKind::Directory => (self.tree.enter(parent, name), None),
            Ok(_) => return Err(CopyError::DirectoryToFile { path: self.side.shown(shown) }),
            Err(FsError::NotFound) => (self.tree.make_directory(parent, name), Some(given)),
            Err(error) => (Err(error), None),
        };
        let directory = directory.map_err(self.side.failed(shown))?;
        self.open.push(Open { name: name.to_vec(), directory, given });
        Ok(())
    }

    /// Removes what is in the way of anything but a directory. A file gives way to a file by itself.
    fn make_way(
        &self,
        parent: &T::Directory,
        name: &[u8],
        kind: EntryType,
        shown: &str,
    ) -> Result<(), CopyError> {
        let is_file = !matches!(kind, EntryType::Symlink | EntryType::Link);
        match self.tree.look(parent, name) {
            Ok(seen) if seen.kind == FileKind::Directory => {
                Err(CopyError::FileToDirectory { path: self.side.shown(shown) })
            }
            Ok(seen) if seen.kind == FileKind::File && is_file => Ok(()),
            Ok(seen) if !matches!(seen.kind, FileKind::File | FileKind::Symlink) => {
                Err(CopyError::NoFile { path: self.side.shown(shown) })
            }
            Ok(_) => self.tree.remove(parent, name).map_err(self.side.failed(shown)),
            Err(FsError::NotFound) => Ok(()),
            Err(error) => Err(self.side.failed(shown)(error)),
        }
    }

    /// A second name of what is in the archive.
    fn link(
        &mut self,
        entry: &Entry,
        to: (&T::Directory, &[u8]),
        shown: &str,
    ) -> Result<(), CopyError> {
        let names = self.names(&entry.link)?;
        let Some((name, above)) = names.split_last() else {
            return Err(entries::refused(entry, "it is a link to a directory").into());
        };
        let mut directory = self.base.clone();
        for above in above {
            directory = self.tree.enter(&directory, above).map_err(self.side.failed(shown))?;
        }
        self.tree.link((&directory, name), to).map_err(self.side.failed(shown))
    }
}

/// Gives `write` what is left of `content`, piece by piece with the positions: it takes at least one
/// byte of each.
pub fn copy_pieces(
    content: &mut dyn Read,
    mut write: impl FnMut(&[u8], u64) -> Result<usize, FsError>,
) -> Result<(), FsError> {
    let (mut piece, mut position) = (vec![0; 128 << 10], 0);
    loop {
        let count = match content.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let mut written = 0;
        while written < count {
            let more = write(&piece[written..count], position)?;
            if more == 0 {
                return Err(FsError::Io(io::ErrorKind::WriteZero.into()));
            }
            written += more;
            position += more as u64;
        }
    }
}
