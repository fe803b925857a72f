//! Path resolution.

use std::sync::Arc;

use super::{Directory, ErrorCode, FileKind, Location, Result, Vfs};

/// As many as Linux follows (`path_resolution(7)`).
const MAX_SYMLINKS: u32 = 40;
/// Longest path, in bytes, as on Linux (limits.h: `PATH_MAX`).
const PATH_MAX: usize = 4096;

/// Where a path led.
pub(crate) enum Walked {
    /// To a directory.
    Directory(Arc<Directory>),
    /// To a name that is no directory, or does not exist.
    Entry(Entry),
}

/// A name in a directory.
pub(crate) struct Entry {
    pub(crate) parent: Arc<Directory>,
    pub(crate) name: String,
    /// What it names; `None` when it does not exist.
    pub(crate) found: Option<Location>,
    /// What that is; [`FileKind::File`] when it does not exist.
    pub(crate) kind: FileKind,
    /// Whether the path asked for a directory, by a slash at its end.
    pub(crate) directory_wanted: bool,
}

impl Entry {
    /// The entry that a directory is in its parent. The root has none.
    pub(crate) fn of(directory: &Directory) -> Result<Self> {
        let parent = directory.parent.clone().ok_or(ErrorCode::Busy)?;
        Ok(Self {
            parent,
            name: directory.name.clone(),
            found: Some(directory.at),
            kind: FileKind::Directory,
            directory_wanted: false,
        })
    }
}

impl Walked {
    /// What was found.
    pub(crate) fn location(&self) -> Result<Location> {
        match self {
            Self::Directory(directory) => Ok(directory.at),
            Self::Entry(entry) => entry.found.ok_or(ErrorCode::NoEntry),
        }
    }

    /// A name that can be made.
    pub(crate) fn missing(self) -> Result<Entry> {
        match self {
            Self::Entry(entry) if entry.found.is_none() => Ok(entry),
            _ => Err(ErrorCode::Exist),
        }
    }

    /// The name of whatever was found or not found.
    pub(crate) fn into_entry(self) -> Result<Entry> {
        match self {
            Self::Directory(directory) => Entry::of(&directory),
            Self::Entry(entry) => Ok(entry),
        }
    }
}

impl Directory {
    /// The directory's absolute path in the guest, by the names that led to it.
    pub(crate) fn path(&self) -> String {
        match &self.parent {
            None => String::new(),
            Some(parent) => format!("{}/{}", parent.path(), self.name),
        }
    }
}

/// The names still to be resolved, the next one last.
struct Pending {
    names: Vec<String>,
    /// Whether the last name must be a directory.
    directory_wanted: bool,
}

impl Pending {
    fn push(&mut self, path: &str) {
        if self.names.is_empty() {
            self.directory_wanted |= path.ends_with('/');
        }
        let names = path.split('/').filter(|name| !matches!(*name, "" | "."));
        self.names.extend(names.rev().map(str::to_owned));
    }
}

impl Vfs {
    /// Resolves `path` from `base`. Symbolic links on the way are followed, and the last one
    /// when `follow` says so or a slash comes after it.
    ///
    /// `..` at the guest's root stays there; above another open directory it is not
    /// permitted, as WASI demands.
    pub(crate) fn walk(&self, base: &Arc<Directory>, path: &str, follow: bool) -> Result<Walked> {
        check(base, path)?;
        let mut pending = Pending { names: Vec::new(), directory_wanted: false };
        pending.push(path);
        let mut here = Arc::clone(base);
        let mut symlinks = 0;
        while let Some(name) = pending.names.pop() {
            if name == ".." {
                here = here.parent.clone().unwrap_or(here);
                continue;
            }
            let last = pending.names.is_empty();
            let entry = self.entry(&here, name, last && pending.directory_wanted)?;
            let Some(at) = entry.found else {
                return if last { Ok(Walked::Entry(entry)) } else { Err(ErrorCode::NoEntry) };
            };
            match entry.kind {
                FileKind::Directory => {
                    here = Arc::new(Directory { at, parent: Some(here), name: entry.name });
                }
                FileKind::Symlink if !last || follow || pending.directory_wanted => {
                    symlinks += 1;
                    if symlinks > MAX_SYMLINKS {
                        return Err(ErrorCode::Loop);
                    }
                    let target = self.read_link(at)?;
                    if target.starts_with('/') {
                        here = self.root();
                    }
                    pending.push(&target);
                }
                _ if last && !pending.directory_wanted => return Ok(Walked::Entry(entry)),
                _ => return Err(ErrorCode::NotDirectory),
            }
        }
        Ok(Walked::Directory(here))
    }

    /// Looks `name` up in a directory.
    pub(super) fn entry(
        &self,
        here: &Arc<Directory>,
        name: String,
        directory_wanted: bool,
    ) -> Result<Entry> {
        let parent = Arc::clone(here);
        let missing = Entry { parent, name, found: None, kind: FileKind::File, directory_wanted };
        match self.fs(here.at).lookup(here.at.node, &missing.name) {
            Ok((node, kind)) => {
                let at = Location { mount: here.at.mount, node };
                let seen = self.uncover(at);
                let kind = if seen == at { kind } else { self.stat(seen)?.kind };
                Ok(Entry { found: Some(seen), kind, ..missing })
            }
            Err(ErrorCode::NoEntry) => Ok(missing),
            Err(error) => Err(error),
        }
    }
}

/// Refuses paths that no directory can hold, and those that leave `base`.
fn check(base: &Directory, path: &str) -> Result<()> {
    if path.is_empty() {
        return Err(ErrorCode::NoEntry);
    }
    if path.len() >= PATH_MAX {
        return Err(ErrorCode::NameTooLong);
    }
    if path.contains('\0') {
        return Err(ErrorCode::Invalid);
    }
    if base.parent.is_none() {
        return Ok(());
    }
    let mut depth = 0_i32;
    for name in path.split('/') {
        depth += match name {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        if depth < 0 {
            return Err(ErrorCode::NotPermitted);
        }
    }
    if path.starts_with('/') { Err(ErrorCode::NotPermitted) } else { Ok(()) }
}
