//! Which entries of an upper are told of and packed.

use std::io;

use super::{Omitted, walk::split};
use crate::{
    tree::{Directory, Kind},
    union::{Follow, ROOT, UnionFs},
};

/// Knows what is left out of an upper.
pub(crate) struct Filter<'a> {
    pub(crate) omitted: &'a Omitted,
    pub(crate) lowers: &'a UnionFs,
}

impl Filter<'_> {
    /// Whether the entry at `path`, which lies in the upper's directory `parent`, is left out.
    pub(crate) fn leaves_out(
        &self,
        parent: &Directory,
        path: &[u8],
        kind: Kind,
    ) -> io::Result<bool> {
        if self.omitted.excludes(path) {
            return Ok(true);
        }
        let (_, name) = split(path);
        if self.omitted.is_mount_point(path) {
            let in_lowers = self.lowers.find(ROOT, path, Follow::AllButLast).is_ok();
            return Ok(!in_lowers && is_empty(parent, name, kind)?);
        }
        if kind != Kind::Directory || !self.omitted.leads_to_mount_point(path) {
            return Ok(false);
        }
        self.is_untouched(&parent.open_dir(name)?, path)
    }

    /// Whether a directory was copied up for mount points alone.
    fn is_untouched(&self, directory: &Directory, path: &[u8]) -> io::Result<bool> {
        let Ok(node) = self.lowers.find(ROOT, path, Follow::AllButLast) else { return Ok(false) };
        let below = self.lowers.raw_stat(node).map_err(io::Error::other)?;
        let own = directory.stat_self()?;
        if (own.mode, own.uid, own.gid) != (below.mode, below.uid, below.gid) {
            return Ok(false);
        }
        let (entries, opaque) = directory.listing()?;
        for entry in &entries {
            let path = [path, b"/", &entry.name].concat();
            if !self.leaves_out(directory, &path, entry.kind)? {
                return Ok(false);
            }
        }
        Ok(!opaque && !entries.is_empty())
    }
}

fn is_empty(parent: &Directory, name: &[u8], kind: Kind) -> io::Result<bool> {
    match kind {
        Kind::Directory => Ok(parent.open_dir(name)?.entries()?.is_empty()),
        Kind::File => Ok(parent.stat(name, kind)?.size == 0),
        _ => Ok(false),
    }
}
