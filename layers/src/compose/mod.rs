//! Layers that are put together of files from elsewhere: of the host, of other images, of archives.
//!
//! A [`Composition`] is described first and written when somebody wants it: its [`digest`] says whether
//! there is such a layer already. Its paths are resolved within what is below it, link by link; no path
//! of a source leads out of that source.
//!
//! [`digest`]: Composition::digest

mod archive;
mod digest;
mod resolve;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
mod write;

use std::{collections::BTreeMap, io::Read, sync::Arc, time::SystemTime};

pub use self::{
    archive::Unpacked,
    resolve::{Located, locate},
};
use crate::{
    copy::{CopyError, GuestTree, Seen},
    error::Result,
    pack::unread,
    tree::{Attributes, Special},
    union::{FileKind, Follow, FsError, FsResult, UnionFs},
};

/// Permissions of directories that are made on the way to a destination.
const DIRECTORY_MODE: u32 = 0o755;

/// Files that will be a layer.
pub struct Composition<'a> {
    base: &'a UnionFs,
    entries: BTreeMap<Vec<u8>, Entry<'a>>,
    newest: Option<SystemTime>,
}

/// How copies differ from what they are copies of.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// User and group; the original's where absent.
    pub owner: Option<(u32, u32)>,
    /// Permissions; the original's where absent.
    pub mode: Option<u32>,
    /// When that was changed which has no original: directories on the way.
    pub time: SystemTime,
}

/// What becomes of an entry of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is copied.
    Take,
    /// It is not, and nothing that it holds.
    Skip,
    /// It is a directory that is made if something in it is copied.
    Look,
}

/// Decides about the entry at a path of a source.
pub type Choice<'a> = &'a dyn Fn(&[u8], FileKind) -> Verdict;

#[derive(Clone)]
struct Entry<'a> {
    attributes: Attributes,
    content: Content<'a>,
    /// Whether it was made here, or copied from what is below: its time is part of what it is. That
    /// of a copy says when somebody got the original.
    own: bool,
}

type Open<'a> = Arc<dyn Fn() -> Result<Box<dyn Read + 'a>> + Send + Sync + 'a>;

#[derive(Clone)]
enum Content<'a> {
    Directory,
    Bytes(Arc<[u8]>),
    File { size: u64, open: Open<'a> },
    Symlink(Vec<u8>),
    Special(Special),
}

impl Content<'_> {
    const fn kind(&self) -> FileKind {
        match self {
            Self::Directory => FileKind::Directory,
            Self::Bytes(_) | Self::File { .. } => FileKind::File,
            Self::Symlink(_) => FileKind::Symlink,
            Self::Special(special) => match special {
                Special::Fifo => FileKind::Fifo,
                Special::Char { .. } => FileKind::CharDevice,
                Special::Block { .. } => FileKind::BlockDevice,
                Special::Socket => FileKind::Socket,
            },
        }
    }
}

impl<'a> Composition<'a> {
    /// Nothing, on top of `base`.
    #[must_use]
    pub const fn new(base: &'a UnionFs) -> Self {
        Self { base, entries: BTreeMap::new(), newest: None }
    }

    /// Whether there would be no layer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// When the newest of the originals was changed.
    #[must_use]
    pub const fn newest(&self) -> Option<SystemTime> {
        self.newest
    }

    /// Makes a directory, and what is missing above it. Links on the way are followed; what is there
    /// stays as it is.
    pub fn directory(&mut self, path: &str, given: Given) -> Result<(), CopyError> {
        let place = self.destination(path)?;
        self.way(&place.path, given)
    }

    /// Where a destination leads.
    pub fn destination(&self, path: &str) -> Result<Located, CopyError> {
        let look = |path: &[u8]| self.look(path);
        resolve::resolve(&look, path.as_bytes(), Follow::All)
            .map_err(failed("find", path.as_bytes()))
    }

    /// Adds a file of these bytes at a resolved path.
    pub fn file(&mut self, path: &[u8], bytes: &[u8], given: Given) -> Result<(), CopyError> {
        let (uid, gid) = given.owner.unwrap_or_default();
        let mode = given.mode.unwrap_or(0o644);
        let attributes = Attributes { uid, gid, ..Attributes::new(mode, given.time) };
        let content = Content::Bytes(bytes.into());
        self.add(path, Entry { attributes, content, own: true }, given)
    }

    /// Copies what is at a path of `tree`, of a directory all that is in it, to a resolved path. A path
    /// that is there already as something else gives way, unless one of the two is a directory.
    pub fn copy<T: GuestTree + Sync>(
        &mut self,
        tree: &'a T,
        from: &Located,
        to: &[u8],
        given: Given,
        choice: Choice<'_>,
    ) -> Result<(), CopyError> {
        let (parent, name) =
            resolve::parent(tree, &from.path).map_err(failed("find", &from.path))?;
        let source = from.path.clone();
        // What is still to be visited, the next last.
        let mut pending =
            vec![Visit { parent, name, source, target: to.to_vec(), looked_at: Vec::new() }];
        while let Some(visit) = pending.pop() {
            let seen = visit.seen(tree)?;
            let is_root = visit.source == from.path;
            let mut looked_at = visit.looked_at.clone();
            match if is_root { Verdict::Take } else { choice(&visit.source, seen.kind) } {
                Verdict::Skip => continue,
                Verdict::Look => {
                    looked_at.push((
                        visit.parent.clone(),
                        visit.name.clone(),
                        visit.source.clone(),
                    ));
                }
                Verdict::Take => {
                    for (parent, name, source) in looked_at.drain(..) {
                        let target = moved(&source, &from.path, to);
                        let above = Visit { parent, name, source, target, looked_at: Vec::new() };
                        let seen = above.seen(tree)?;
                        self.one(tree, &above, seen, given)?;
                    }
                    self.one(tree, &visit, seen, given)?;
                }
            }
            if seen.kind == FileKind::Directory {
                pending.extend(visit.below(tree, &looked_at)?);
            }
        }
        Ok(())
    }

    /// What `read` makes of a file of `tree`.
    pub fn with_file<T: GuestTree, R>(
        &self,
        tree: &T,
        from: &Located,
        read: impl FnOnce(&mut dyn Read) -> Result<R>,
    ) -> Result<R, CopyError> {
        let opened = resolve::parent(tree, &from.path).and_then(|(parent, name)| {
            let (_, content) = tree.read(&parent, &name.unwrap_or_default())?;
            Ok(content)
        });
        Ok(read(&mut *opened.map_err(failed("open", &from.path))?)?)
    }

    /// Copies an entry, of a directory only itself.
    fn one<T: GuestTree + Sync>(
        &mut self,
        tree: &'a T,
        visit: &Visit<T>,
        seen: Seen,
        given: Given,
    ) -> Result<(), CopyError> {
        let (source, target) = (&visit.source, &visit.target);
        let Seen { kind, stat } = seen;
        let is_directory = |there: resolve::Look| there.kind == FileKind::Directory;
        let there = self.look(target).map_err(failed("look at", target))?;
        // What is there keeps what it is, and gets what it holds.
        if kind == FileKind::Directory && there.is_some_and(is_directory) {
            return self.way(target, given);
        }
        let (mut xattrs, mut content) = (Vec::new(), Content::Directory);
        if let Some(name) = &visit.name {
            xattrs = tree.xattrs(&visit.parent, name).map_err(failed("look at", source))?;
            content = match kind {
                FileKind::Directory => Content::Directory,
                FileKind::File => Content::File { size: stat.size, open: opener(tree, source) },
                FileKind::Symlink => {
                    let target = tree.target(&visit.parent, name);
                    Content::Symlink(target.map_err(failed("read", source))?)
                }
                FileKind::Socket => return Ok(()),
                _ => {
                    let special = tree.special(&visit.parent, name, &seen);
                    Content::Special(special.map_err(failed("look at", source))?)
                }
            };
        }
        // Of trees that keep no owners, all is root's.
        let own = if tree.keeps_owners().is_ok() { (stat.uid, stat.gid) } else { (0, 0) };
        let (uid, gid) = given.owner.unwrap_or(own);
        let mode = given.mode.filter(|_| kind != FileKind::Symlink).unwrap_or(stat.mode);
        let attributes = Attributes { uid, gid, xattrs, ..Attributes::new(mode, stat.mtime) };
        self.newest = self.newest.max(Some(stat.mtime));
        self.add(target, Entry { attributes, content, own: false }, given)
    }

    fn add(&mut self, path: &[u8], entry: Entry<'a>, given: Given) -> Result<(), CopyError> {
        if let Some(slash) = path.iter().rposition(|&byte| byte == b'/') {
            self.way(&path[..slash], given)?;
        }
        let is_directory = entry.content.kind() == FileKind::Directory;
        let shown = || String::from_utf8_lossy(path).into_owned();
        let there = self.look(path).map_err(failed("look at", path))?;
        match there.map(|there| there.kind == FileKind::Directory) {
            Some(true) if !is_directory => {
                return Err(CopyError::FileToDirectory { path: shown() });
            }
            Some(false) if is_directory => {
                return Err(CopyError::DirectoryToFile { path: shown() });
            }
            _ => {}
        }
        self.entries.insert(path.to_vec(), entry);
        Ok(())
    }

    /// Has the directories down to a resolved path be part of the layer.
    fn way(&mut self, path: &[u8], given: Given) -> Result<(), CopyError> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        for end in ends.chain([path.len()]).filter(|end| *end > 0) {
            let path = &path[..end];
            if self
                .entries
                .get(path)
                .is_some_and(|entry| entry.content.kind() == FileKind::Directory)
            {
                continue;
            }
            let there = self.look(path).map_err(failed("look at", path))?;
            let attributes = match there {
                Some(there) if there.kind == FileKind::Directory => {
                    resolve::attributes(self.base, path).map_err(failed("look at", path))?
                }
                Some(_) => {
                    let path = String::from_utf8_lossy(path).into_owned();
                    return Err(CopyError::DirectoryToFile { path });
                }
                None => {
                    let (uid, gid) = given.owner.unwrap_or_default();
                    Attributes { uid, gid, ..Attributes::new(DIRECTORY_MODE, given.time) }
                }
            };
            let entry = Entry { attributes, content: Content::Directory, own: true };
            self.entries.insert(path.to_vec(), entry);
        }
        Ok(())
    }

    /// What is at a path, no link of which is followed.
    fn look(&self, path: &[u8]) -> FsResult<Option<resolve::Look>> {
        if let Some(entry) = self.entries.get(path) {
            let target = match &entry.content {
                Content::Symlink(target) => target.clone(),
                _ => Vec::new(),
            };
            return Ok(Some(resolve::Look { kind: entry.content.kind(), target }));
        }
        resolve::look(self.base, path)
    }
}

/// An entry of a source that is looked at.
struct Visit<T: GuestTree> {
    parent: T::Directory,
    /// None of the root.
    name: Option<Vec<u8>>,
    source: Vec<u8>,
    target: Vec<u8>,
    /// Directories above it that are made if it is copied.
    looked_at: Vec<LookedAt<T>>,
}

type LookedAt<T> = (<T as GuestTree>::Directory, Option<Vec<u8>>, Vec<u8>);

impl<T: GuestTree> Visit<T> {
    fn seen(&self, tree: &T) -> Result<Seen, CopyError> {
        let seen = match &self.name {
            Some(name) => tree.look(&self.parent, name),
            None => tree.look_at(&self.parent),
        };
        seen.map_err(failed("look at", &self.source))
    }

    /// What a directory holds, the first name last.
    fn below(&self, tree: &T, looked_at: &[LookedAt<T>]) -> Result<Vec<Self>, CopyError> {
        let directory = match &self.name {
            Some(name) => tree.enter(&self.parent, name).map_err(failed("open", &self.source))?,
            None => self.parent.clone(),
        };
        let mut names = tree.list(&directory).map_err(failed("list", &self.source))?;
        names.sort_unstable_by(|one, other| other.cmp(one));
        let visit = |name: Box<[u8]>| Self {
            parent: directory.clone(),
            source: join(&self.source, &name),
            target: join(&self.target, &name),
            name: Some(name.into()),
            looked_at: looked_at.to_vec(),
        };
        Ok(names.into_iter().map(visit).collect())
    }
}

fn opener<'a, T: GuestTree + Sync>(tree: &'a T, source: &[u8]) -> Open<'a> {
    let path = source.to_vec();
    Arc::new(move || {
        let (parent, name) = resolve::parent(tree, &path).map_err(unread("find", &path))?;
        let name = name.unwrap_or_default();
        let (_, content) = tree.read(&parent, &name).map_err(unread("open", &path))?;
        Ok(content)
    })
}

/// A path below `from` as it is below `to`.
fn moved(path: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let rest = path.strip_prefix(from).unwrap_or(path);
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    if rest.is_empty() { to.to_vec() } else { join(to, rest) }
}

pub(crate) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

fn failed(verb: &'static str, path: &[u8]) -> impl FnOnce(FsError) -> CopyError {
    let failed = unread(verb, path);
    move |error| failed(error).into()
}

impl std::fmt::Debug for Composition<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Composition").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}
