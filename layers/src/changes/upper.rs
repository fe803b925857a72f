//! The changes of a container: its upper against its lowers.

use std::{collections::BTreeMap, io};

use super::{Change, ChangeKind};
use crate::{
    Snapshot,
    error::{Error, Result},
    pack::{Filter, Omitted, Pending, lowers, split, unread},
    tree::{Directory, Encoding, Kind},
    union::{Follow, Node, ROOT, UnionFs},
};

/// A name in the upper, with what the lowers have of it.
struct Entry {
    /// `None` for what an opaque directory hides.
    upper: Option<Kind>,
    lower: Option<Node>,
}

/// What the upper of a snapshot changes. The cost is that of the changes.
pub(super) fn changes(snapshot: &Snapshot, omitted: &Omitted) -> Result<Vec<Change>> {
    let upper = Directory::open_root(&snapshot.upper, Encoding::host())
        .map_err(Error::io("open", &snapshot.upper))?;
    let lowers = lowers(snapshot)?;
    let filter = Filter { omitted, lowers: &lowers };
    let mut changes = Vec::new();
    let mut pending = Pending::new();
    pending.add(b"", merged(&upper, &lowers, Some(ROOT)).map_err(unread("list", b""))?);
    while let Some((path, Entry { upper: kind, lower })) = pending.next() {
        let Some(kind) = kind.filter(|kind| *kind != Kind::Whiteout) else {
            changes.extend(lower.map(|_| Change::new(&path, ChangeKind::Deleted)));
            continue;
        };
        let (parent, name) = split(&path);
        let parent = upper.open_dir_at(names(parent)).map_err(unread("open", &path))?;
        if filter.leaves_out(&parent, &path, kind).map_err(unread("look at", &path))? {
            continue;
        }
        let change = if lower.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        changes.push(Change::new(&path, change));
        if kind == Kind::Directory {
            let directory = parent.open_dir(name).map_err(unread("open", &path))?;
            let entries = merged(&directory, &lowers, lower).map_err(unread("list", &path))?;
            pending.add(&path, entries);
        }
    }
    Ok(changes)
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
}

/// What a directory of the upper holds and hides, with the lowers' directory at its place.
fn merged(
    upper: &Directory,
    lowers: &UnionFs,
    lower: Option<Node>,
) -> io::Result<Vec<(Box<[u8]>, Entry)>> {
    let lower =
        lower.filter(|node| lowers.raw_kind(*node).is_ok_and(|kind| kind == Kind::Directory));
    let mut entries: BTreeMap<Box<[u8]>, Entry> = BTreeMap::new();
    for entry in upper.entries()? {
        // Both a whiteout and what took its place are there after a crash in the portable encoding.
        if entry.kind == Kind::Whiteout && entries.contains_key(&entry.name) {
            continue;
        }
        let below = lower.and_then(|node| lowers.find(node, &entry.name, Follow::AllButLast).ok());
        entries.insert(entry.name, Entry { upper: Some(entry.kind), lower: below });
    }
    if let Some(lower) = lower.filter(|_| upper.is_opaque().unwrap_or(false)) {
        for (name, node) in lowers.list(lower).map_err(io::Error::other)? {
            entries.entry(name).or_insert(Entry { upper: None, lower: Some(node) });
        }
    }
    Ok(entries.into_iter().collect())
}
