//! Paths of the guest, resolved within its root.

use std::collections::VecDeque;

use super::{Follow, FsError, FsResult, Node, ROOT, nodes::Tables};
use crate::tree::Kind;

/// As many symbolic links are followed in one resolution (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
/// The longest name, in bytes.
const LONGEST_NAME: usize = 255;
/// The longest path, in bytes.
const LONGEST_PATH: usize = 4095;

/// Refuses what is no name of an entry.
pub(super) fn check_name(name: &str) -> FsResult<&[u8]> {
    let name = name.as_bytes();
    if matches!(name, b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        Err(FsError::Invalid)
    } else if name.is_empty() {
        Err(FsError::NotFound)
    } else if name.len() > LONGEST_NAME {
        Err(FsError::NameTooLong)
    } else {
        Ok(name)
    }
}

/// Refuses what is no target of a symbolic link.
pub(super) fn check_target(target: &str) -> FsResult<()> {
    match target.as_bytes() {
        b"" => Err(FsError::NotFound),
        target if target.len() > LONGEST_PATH => Err(FsError::NameTooLong),
        target if target.contains(&0) => Err(FsError::Invalid),
        _ => Ok(()),
    }
}

/// Resolves `path` from `base`, or from the root when it begins with `/`.
pub(super) fn resolve(
    tables: &mut Tables,
    base: Node,
    path: &[u8],
    follow: Follow,
) -> FsResult<Node> {
    if path.is_empty() {
        return Err(FsError::NotFound);
    }
    let mut walk = Walk { node: base, rest: VecDeque::new(), links: 0, must_be_directory: false };
    walk.enter(path)?;
    while let Some(name) = walk.rest.pop_front() {
        walk.step(tables, &name, follow)?;
    }
    if walk.must_be_directory && tables.node(walk.node)?.kind != Kind::Directory {
        return Err(FsError::NotDirectory);
    }
    Ok(walk.node)
}

/// Splits a path into the resolved directory and the last name, which need not exist.
pub(super) fn resolve_parent(
    tables: &mut Tables,
    base: Node,
    path: &str,
) -> FsResult<(Node, String)> {
    let trimmed = path.trim_end_matches('/');
    let (parent, name) = match trimmed.rfind('/') {
        Some(slash) => (&trimmed[..=slash], &trimmed[slash + 1..]),
        None => ("", trimmed),
    };
    if trimmed.is_empty() && !path.is_empty() {
        return Err(FsError::Invalid);
    }
    check_name(name)?;
    let parent = match parent {
        "" => base,
        parent => resolve(tables, base, parent.as_bytes(), Follow::All)?,
    };
    if tables.node(parent)?.kind != Kind::Directory {
        return Err(FsError::NotDirectory);
    }
    if path.len() != trimmed.len()
        && let Ok(existing) = tables.lookup(parent, name.as_bytes())
        && tables.node(existing)?.kind != Kind::Directory
    {
        return Err(FsError::NotDirectory);
    }
    Ok((parent, name.to_owned()))
}

struct Walk {
    node: Node,
    rest: VecDeque<Vec<u8>>,
    links: usize,
    /// The path ended in `/`.
    must_be_directory: bool,
}

impl Walk {
    /// Puts a path in front of what is left.
    fn enter(&mut self, path: &[u8]) -> FsResult<()> {
        if path.len() > LONGEST_PATH {
            return Err(FsError::NameTooLong);
        }
        if path.contains(&0) {
            return Err(FsError::Invalid);
        }
        if path.starts_with(b"/") {
            self.node = ROOT;
        }
        self.must_be_directory |= self.rest.is_empty() && path.ends_with(b"/");
        let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        for name in names.rev() {
            self.rest.push_front(name.to_vec());
        }
        Ok(())
    }

    fn step(&mut self, tables: &mut Tables, name: &[u8], follow: Follow) -> FsResult<()> {
        let state = tables.node(self.node)?;
        if state.kind != Kind::Directory {
            return Err(FsError::NotDirectory);
        }
        match name {
            b"." => return Ok(()),
            b".." => {
                self.node = state.parent;
                return Ok(());
            }
            name if name.len() > LONGEST_NAME => return Err(FsError::NameTooLong),
            _ => {}
        }
        let found = tables.lookup(self.node, name)?;
        let last = self.rest.is_empty() && !self.must_be_directory;
        if tables.node(found)?.kind != Kind::Symlink || (last && follow == Follow::AllButLast) {
            self.node = found;
            return Ok(());
        }
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(FsError::Loop);
        }
        let target = tables.target(found)?;
        if target.is_empty() {
            return Err(FsError::NotFound);
        }
        self.enter(&target)
    }
}
