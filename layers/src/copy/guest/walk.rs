//! Paths of the guest, resolved within its root, one name and one link at a time.

use super::GuestTree;
use crate::union::{FileKind, Follow, FsError, FsResult};

/// As many symbolic links are followed in one resolution (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
/// The longest path, in bytes.
const LONGEST_PATH: usize = 4095;

/// Where a path leads.
pub(super) enum Found<D> {
    /// To a directory.
    Directory {
        directory: D,
        /// The path from the root that no link is on, without `/` at its ends.
        path: Vec<u8>,
    },
    /// To a name of something else.
    Entry { parent: D, name: Vec<u8> },
    /// To a name that does not exist, in a directory that does.
    Missing { parent: D, name: Vec<u8> },
}

/// Resolves `path` from the root.
pub(super) fn resolve<T: GuestTree>(
    tree: &T,
    path: &[u8],
    follow: Follow,
) -> FsResult<Found<T::Directory>> {
    let mut walk = Walk {
        tree,
        way: vec![(tree.root()?, Vec::new())],
        rest: Vec::new(),
        links: 0,
        must_be_directory: false,
    };
    walk.put(path)?;
    while let Some(name) = walk.rest.pop() {
        if let Some(found) = walk.step(name, follow)? {
            return Ok(found);
        }
    }
    let names: Vec<&[u8]> = walk.way[1..].iter().map(|(_, name)| name.as_slice()).collect();
    let path = names.join(&b'/');
    Ok(Found::Directory { directory: walk.here(), path })
}

struct Walk<'a, T: GuestTree> {
    tree: &'a T,
    /// The directories that led here, with their names; the first is the root, which stays.
    way: Vec<(T::Directory, Vec<u8>)>,
    /// Names still to be resolved, the next last.
    rest: Vec<Vec<u8>>,
    links: usize,
    /// The path ended in `/`.
    must_be_directory: bool,
}

impl<T: GuestTree> Walk<'_, T> {
    fn here(&self) -> T::Directory {
        self.way[self.way.len() - 1].0.clone()
    }

    /// Puts a path in front of what is left.
    fn put(&mut self, path: &[u8]) -> FsResult<()> {
        if path.len() > LONGEST_PATH {
            return Err(FsError::NameTooLong);
        }
        if path.contains(&0) {
            return Err(FsError::Invalid);
        }
        if path.starts_with(b"/") {
            self.way.truncate(1);
        }
        if self.rest.is_empty() {
            self.must_be_directory |= path.ends_with(b"/") || path.ends_with(b"/.");
        }
        let names = path.split(|&byte| byte == b'/');
        self.rest.extend(names.rev().filter(|name| !matches!(*name, b"" | b".")).map(Vec::from));
        Ok(())
    }

    fn step(&mut self, name: Vec<u8>, follow: Follow) -> FsResult<Option<Found<T::Directory>>> {
        if name == b".." {
            if self.way.len() > 1 {
                self.way.pop();
            }
            return Ok(None);
        }
        let last = self.rest.is_empty();
        let parent = self.here();
        let kind = match self.tree.look(&parent, &name) {
            Ok(seen) => seen.kind,
            Err(FsError::NotFound) if last && !self.must_be_directory => {
                return Ok(Some(Found::Missing { parent, name }));
            }
            Err(error) => return Err(error),
        };
        match kind {
            FileKind::Directory => {
                let directory = self.tree.enter(&parent, &name)?;
                self.way.push((directory, name));
                Ok(None)
            }
            FileKind::Symlink if !last || self.must_be_directory || follow == Follow::All => {
                self.links += 1;
                if self.links > MOST_LINKS {
                    return Err(FsError::Loop);
                }
                let target = self.tree.target(&parent, &name)?;
                if target.is_empty() {
                    return Err(FsError::NotFound);
                }
                self.put(&target).map(|()| None)
            }
            _ if last && !self.must_be_directory => Ok(Some(Found::Entry { parent, name })),
            _ => Err(FsError::NotDirectory),
        }
    }
}
