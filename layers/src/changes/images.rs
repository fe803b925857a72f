//! The changes from one image to another.

use std::collections::BTreeMap;

use super::{Change, ChangeKind};
use crate::{
    error::Result,
    pack::{Pending, unread},
    tree::Kind,
    union::{File, FsResult, Node, OpenOptions, Provenance, ROOT, UnionFs},
};

/// Bytes that are compared at once.
const PIECE: usize = 64 << 10;

/// A name in one image or in both.
#[derive(Default)]
struct Pair {
    before: Option<Node>,
    after: Option<Node>,
}

/// What differs from `before` to `after`, times apart: they differ in images that were built twice
/// of the same. What both have from the same layer is not looked at.
pub fn compare(before: &UnionFs, after: &UnionFs) -> Result<Vec<Change>> {
    let comparison = Comparison { before, after };
    let root = Pair { before: Some(ROOT), after: Some(ROOT) };
    let mut changes = Vec::new();
    let mut pending = Pending::new();
    pending.add(b"", comparison.below(&root).map_err(unread("list", b""))?);
    while let Some((path, pair)) = pending.next() {
        let kind = comparison.change(&pair).map_err(unread("compare", &path))?;
        changes.extend(kind.map(|kind| Change::new(&path, kind)));
        pending.add(&path, comparison.below(&pair).map_err(unread("list", &path))?);
    }
    Ok(changes)
}

struct Comparison<'a> {
    before: &'a UnionFs,
    after: &'a UnionFs,
}

impl Comparison<'_> {
    /// What two directories hold. What is no directory any more has lost its content with it.
    fn below(&self, pair: &Pair) -> FsResult<BTreeMap<Box<[u8]>, Pair>> {
        let list = |files: &UnionFs, node: Option<Node>| match node {
            Some(node) if files.raw_kind(node)? == Kind::Directory => files.list(node).map(Some),
            _ => Ok(None),
        };
        let mut pairs: BTreeMap<Box<[u8]>, Pair> = BTreeMap::new();
        let Some(after) = list(self.after, pair.after)? else { return Ok(pairs) };
        for (name, node) in after {
            pairs.entry(name).or_default().after = Some(node);
        }
        for (name, node) in list(self.before, pair.before)?.unwrap_or_default() {
            pairs.entry(name).or_default().before = Some(node);
        }
        Ok(pairs)
    }

    fn change(&self, pair: &Pair) -> FsResult<Option<ChangeKind>> {
        let (Some(before), Some(after)) = (pair.before, pair.after) else {
            let kind = if pair.after.is_some() { ChangeKind::Added } else { ChangeKind::Deleted };
            return Ok(Some(kind));
        };
        Ok(self.differ(before, after)?.then_some(ChangeKind::Modified))
    }

    fn differ(&self, before: Node, after: Node) -> FsResult<bool> {
        let kind = self.after.raw_kind(after)?;
        if self.before.raw_kind(before)? != kind {
            return Ok(true);
        }
        let (one, other) = (self.before.provenance(before)?, self.after.provenance(after)?);
        if let (Provenance::Lower { diff_id: one, .. }, Provenance::Lower { diff_id: other, .. }) =
            (one, other)
            && one == other
        {
            return Ok(false);
        }
        Ok(self.attributes_differ(before, after)?
            || match kind {
                Kind::File => self.contents_differ(before, after)?,
                Kind::Symlink => self.before.target(before)? != self.after.target(after)?,
                Kind::CharDevice | Kind::BlockDevice => {
                    self.before.special(before)? != self.after.special(after)?
                }
                _ => false,
            })
    }

    fn attributes_differ(&self, before: Node, after: Node) -> FsResult<bool> {
        let (mut one, mut other) = (self.before.attributes(before)?, self.after.attributes(after)?);
        one.xattrs.sort();
        other.xattrs.sort();
        other.mtime = one.mtime;
        Ok(one != other)
    }

    fn contents_differ(&self, before: Node, after: Node) -> FsResult<bool> {
        if self.before.raw_stat(before)?.size != self.after.raw_stat(after)?.size {
            return Ok(true);
        }
        let one = self.before.open_file(before, OpenOptions::READ)?;
        let other = self.after.open_file(after, OpenOptions::READ)?;
        let (mut ours, mut theirs) = (vec![0; PIECE], vec![0; PIECE]);
        let mut position = 0;
        loop {
            let count = fill(&one, &mut ours, position)?;
            if fill(&other, &mut theirs, position)? != count || ours[..count] != theirs[..count] {
                return Ok(true);
            }
            if count == 0 {
                return Ok(false);
            }
            position += count as u64;
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &File, buffer: &mut [u8], position: u64) -> FsResult<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
