//! Paths, resolved one name and one link at a time within a root.

use crate::{
    copy::{GuestTree, Seen},
    tree::Attributes,
    union::{FileKind, Follow, FsError, FsResult, ROOT, UnionFs},
};

/// As many symbolic links are followed in one resolution (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The path from the root that no link is on, without `/` at its ends; empty for the root.
    pub path: Vec<u8>,
    /// What is there.
    pub kind: Option<FileKind>,
}

impl Located {
    /// The root.
    #[must_use]
    pub const fn root() -> Self {
        Self { path: Vec::new(), kind: Some(FileKind::Directory) }
    }
}

/// What is at a path, and where it leads if it is a link.
pub(super) struct Look {
    pub(super) kind: FileKind,
    pub(super) target: Vec<u8>,
}

/// Where a path of a tree leads, in the tree alone: `..` of its root is the root.
pub fn locate<T: GuestTree>(tree: &T, path: &[u8], follow: Follow) -> FsResult<Located> {
    resolve(&|path: &[u8]| look(tree, path), path, follow)
}

/// Resolves a path by what `look` tells. Names that are not there lead to themselves.
pub(super) fn resolve(
    look: &dyn Fn(&[u8]) -> FsResult<Option<Look>>,
    path: &[u8],
    follow: Follow,
) -> FsResult<Located> {
    let names = |path: &[u8]| -> Vec<Vec<u8>> {
        let names = path.split(|&byte| byte == b'/').rev();
        names.filter(|name| !matches!(*name, b"" | b".")).map(Vec::from).collect()
    };
    let (mut way, mut rest, mut links) = (Vec::<Vec<u8>>::new(), names(path), 0);
    let mut kind = Some(FileKind::Directory);
    while let Some(name) = rest.pop() {
        if name == b".." {
            way.pop();
            kind = Some(FileKind::Directory);
            continue;
        }
        way.push(name);
        let there = look(&way.join(&b'/'))?;
        kind = there.as_ref().map(|there| there.kind);
        let Some(Look { kind: FileKind::Symlink, target }) = there else {
            if !rest.is_empty() && kind.is_some_and(|kind| kind != FileKind::Directory) {
                return Err(FsError::NotDirectory);
            }
            continue;
        };
        if rest.is_empty() && follow == Follow::AllButLast {
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(FsError::Loop);
        }
        way.pop();
        if target.starts_with(b"/") {
            way.clear();
        }
        kind = Some(FileKind::Directory);
        rest.extend(names(&target));
    }
    Ok(Located { path: way.join(&b'/'), kind })
}

/// What is at a path of a tree, none of whose names is a link.
pub(super) fn look<T: GuestTree>(tree: &T, path: &[u8]) -> FsResult<Option<Look>> {
    let seen = match parent(tree, path) {
        Ok((parent, Some(name))) => tree.look(&parent, &name).map(|seen| (seen, parent, name)),
        Ok((_, None)) => {
            return Ok(Some(Look { kind: FileKind::Directory, target: Vec::new() }));
        }
        Err(error) => Err(error),
    };
    match seen {
        Ok((Seen { kind: FileKind::Symlink, .. }, parent, name)) => {
            let target = tree.target(&parent, &name)?;
            Ok(Some(Look { kind: FileKind::Symlink, target }))
        }
        Ok((Seen { kind, .. }, ..)) => Ok(Some(Look { kind, target: Vec::new() })),
        Err(FsError::NotFound | FsError::NotDirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The directory that a path's last name is in, and that name; none of the root.
pub(super) fn parent<T: GuestTree>(
    tree: &T,
    path: &[u8],
) -> FsResult<(T::Directory, Option<Vec<u8>>)> {
    let mut directory = tree.root()?;
    if path.is_empty() {
        return Ok((directory, None));
    }
    let mut names = path.split(|&byte| byte == b'/').peekable();
    while let Some(name) = names.next() {
        if names.peek().is_none() {
            return Ok((directory, Some(name.to_vec())));
        }
        directory = tree.enter(&directory, name)?;
    }
    Ok((directory, None))
}

/// What an entry of the files below carries.
pub(super) fn attributes(files: &UnionFs, path: &[u8]) -> FsResult<Attributes> {
    let attributes = files.attributes(files.find(ROOT, path, Follow::AllButLast)?)?;
    if files.keeps_owners().is_ok() {
        return Ok(attributes);
    }
    Ok(Attributes { uid: 0, gid: 0, ..attributes })
}
