//! What lies around a store, and in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
};

/// Everything of a file that an attack could change: mode, owner, size, link count, time, content.
type Seen = (u32, u32, u64, u64, (i64, i64), Vec<u8>);

/// A directory with a place for a store, and things to be harmed beside it.
pub(crate) struct Watched(tempfile::TempDir);

impl Watched {
    pub(crate) fn new() -> Self {
        let watched = Self(tempfile::tempdir().unwrap());
        fs::create_dir(watched.path("outside")).unwrap();
        fs::write(watched.path("outside/file"), "untouched").unwrap();
        symlink("file", watched.path("outside/link")).unwrap();
        watched
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The path of something outside, as text.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Everything but the store.
    pub(crate) fn outside(&self) -> BTreeMap<PathBuf, Seen> {
        let mut seen = tree(&self.path("outside"));
        for entry in fs::read_dir(self.0.path()).unwrap() {
            let path = entry.unwrap().path();
            seen.insert(path, (0, 0, 0, 0, (0, 0), Vec::new()));
        }
        seen
    }
}

/// What there is before or after and not the same both times.
pub(crate) fn changed<'a>(
    before: &'a BTreeMap<PathBuf, Seen>,
    after: &'a BTreeMap<PathBuf, Seen>,
) -> BTreeSet<&'a Path> {
    let paths = before.keys().chain(after.keys());
    paths.filter(|path| before.get(*path) != after.get(*path)).map(PathBuf::as_path).collect()
}

/// Everything below a directory. Of the directories of a store only what is in them counts: making
/// and removing files in them changes their times.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mut time = (metadata.mtime(), metadata.mtime_nsec());
        let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if metadata.is_dir() {
            time = (0, 0);
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        if path.file_name().is_some_and(|name| name == "index.json") {
            time = (0, 0);
        }
        let links = if metadata.is_dir() { 0 } else { metadata.nlink() };
        let size = if metadata.is_dir() { 0 } else { metadata.len() };
        seen.insert(path, (metadata.mode(), metadata.uid(), size, links, time, content));
    }
    seen
}
