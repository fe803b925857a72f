//! Writing a tree entry by entry, as an archive gives them.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    time::SystemTime,
};

use super::{Attributes, Directory, Kind, Special, names, overlay};
use crate::{error::shown, limits};

/// An entry of the tree could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{path}`")]
pub struct TreeError {
    /// What was being done: `create the file`.
    pub action: &'static str,
    /// The entry's path in the tree, without a leading `/`.
    pub path: String,
    /// What the host said.
    #[source]
    pub source: io::Error,
}

type Result<T> = std::result::Result<T, TreeError>;

/// What was written at a path.
enum Written {
    Directory(Box<DirectoryState>),
    Other(Kind),
    /// A device that this user must not make.
    LeftOut,
}

impl Written {
    /// Whether a hard link may lead here.
    const fn is_file(&self) -> bool {
        !matches!(self, Self::Directory(_) | Self::Other(Kind::Whiteout))
    }
}

/// Of a directory: what is set when all is written, as writing in it changes its times and its mode
/// might forbid it.
#[derive(Default)]
struct DirectoryState {
    attributes: Option<Attributes>,
    opaque: bool,
}

/// Writes a tree from entries in an archive's order.
///
/// Paths are the guest's, components separated by `/`, without `.` and `..`; a leading or trailing `/`
/// does not count and the empty path is the root. Missing parents are made. A later entry takes the
/// place of an earlier one of its path, except that a directory keeps what is in it. An entry below
/// anything but a directory is refused, so no link of an archive leads a later entry elsewhere.
///
/// The directory must be empty at first and nobody else's: the writer knows by memory what is there.
/// Attributes and opaque marks of directories are set by [`finish`](Self::finish).
pub struct Writer {
    root: Directory,
    written: BTreeMap<Box<[u8]>, Written>,
    /// Bytes of all paths that were written.
    names: usize,
    /// The directory of the latest entry: archives write a directory's entries one after the other.
    parent: Option<(Box<[u8]>, Directory)>,
    buffer: Vec<u8>,
}

impl Writer {
    /// Writes below `root`.
    #[must_use]
    pub fn new(root: Directory) -> Self {
        let written = BTreeMap::from([(Box::default(), Written::Directory(Box::default()))]);
        Self { root, written, names: 0, parent: None, buffer: vec![0; 128 << 10] }
    }

    /// A directory, or new attributes for the one that is there.
    pub fn directory(&mut self, path: &[u8], attributes: &Attributes) -> Result<()> {
        let path = trim(path);
        let state = self.make_directory(path).map_err(error("create the directory", path))?;
        state.attributes = Some(attributes.clone());
        Ok(())
    }

    /// A regular file with all that `content` gives. Returns its size in bytes.
    pub fn file(
        &mut self,
        path: &[u8],
        attributes: &Attributes,
        content: &mut dyn Read,
    ) -> Result<u64> {
        let path = trim(path);
        let permissions = attributes.mode & 0o777;
        let mut file = self
            .place(path, Kind::File, |parent, name| parent.create_file(name, permissions))
            .map_err(error("create the file", path))?;
        let size = self.copy(content, &mut file).map_err(error("write the file", path))?;
        self.root
            .set_file_attributes(&file, attributes)
            .map_err(error("set the attributes of", path))?;
        Ok(size)
    }

    /// A regular file of `size` bytes with holes: each of the `pieces`, an offset and a length in
    /// bytes, is filled with what `data` gives next.
    pub(crate) fn sparse_file(
        &mut self,
        path: &[u8],
        attributes: &Attributes,
        size: u64,
        pieces: &[(u64, u64)],
        data: &mut dyn Read,
    ) -> Result<()> {
        let path = trim(path);
        let permissions = attributes.mode & 0o777;
        let mut file = self
            .place(path, Kind::File, |parent, name| parent.create_file(name, permissions))
            .map_err(error("create the file", path))?;
        let mut write = || {
            file.set_len(size)?;
            for &(offset, length) in pieces.iter().filter(|(_, length)| *length > 0) {
                file.seek(SeekFrom::Start(offset))?;
                if self.copy(&mut (&mut *data).take(length), &mut file)? < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Ok(())
        };
        write().map_err(error("write the file", path))?;
        self.root
            .set_file_attributes(&file, attributes)
            .map_err(error("set the attributes of", path))
    }

    fn copy(&mut self, content: &mut dyn Read, file: &mut File) -> io::Result<u64> {
        let mut size = 0;
        loop {
            match content.read(&mut self.buffer) {
                Ok(0) => return Ok(size),
                Ok(count) => {
                    file.write_all(&self.buffer[..count])?;
                    size += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A symbolic link. Its target may be anything: nothing here follows it.
    pub fn symlink(&mut self, path: &[u8], target: &[u8], attributes: &Attributes) -> Result<()> {
        let path = trim(path);
        self.place(path, Kind::Symlink, |parent, name| {
            parent.symlink(name, target)?;
            parent.set_attributes(name, Kind::Symlink, attributes)
        })
        .map_err(error("create the symbolic link", path))
    }

    /// Another name for the entry at `existing`, which must be an earlier one of this tree and no
    /// directory.
    pub fn hard_link(&mut self, path: &[u8], existing: &[u8]) -> Result<()> {
        let (path, existing) = (trim(path), trim(existing));
        self.link(path, existing).map_err(error("create the hard link", path))
    }

    fn link(&mut self, path: &[u8], existing: &[u8]) -> io::Result<()> {
        if let Some(Written::LeftOut) = self.written.get(existing) {
            self.clear(path)?;
            return self.remember(path, Written::LeftOut);
        }
        let Some(Written::Other(kind)) = self.written.get(existing).filter(|one| one.is_file())
        else {
            let what = shown(existing);
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("its target `{what}` is no file of this layer"),
            ));
        };
        if path == existing {
            return Ok(());
        }
        let kind = *kind;
        let (source, source_name) = split(existing);
        let source = self.root.open_dir_at(components(source))?;
        self.place(path, kind, |parent, name| source.hard_link(source_name, kind, parent, name))
    }

    /// A fifo, a device or a socket. A device that this user must not make is left out; returns
    /// whether it was made.
    pub fn special(
        &mut self,
        path: &[u8],
        special: Special,
        attributes: &Attributes,
    ) -> Result<bool> {
        let path = trim(path);
        let made = self.place(path, special.kind(), |parent, name| {
            parent.make_special(name, special, 0o600)?;
            parent.set_attributes(name, special.kind(), attributes)
        });
        match made {
            Ok(()) => Ok(true),
            Err(refused)
                if refused.kind() == io::ErrorKind::PermissionDenied && !overlay::privileged() =>
            {
                let left_out = self.remember(path, Written::LeftOut);
                left_out.map(|()| false).map_err(error("create the special file", path))
            }
            Err(source) => Err(error("create the special file", path)(source)),
        }
    }

    /// Hides what lowers have at `path`. What this tree itself has there stays, as whiteouts are about
    /// lowers only (OCI image-spec, layer, "Whiteouts"): a directory becomes opaque.
    pub fn whiteout(&mut self, path: &[u8]) -> Result<()> {
        let path = trim(path);
        match self.written.get_mut(path) {
            Some(Written::Directory(state)) => state.opaque = true,
            Some(Written::Other(_)) => {}
            Some(Written::LeftOut) | None => self
                .place(path, Kind::Whiteout, Directory::make_whiteout)
                .map_err(error("create the whiteout", path))?,
        }
        Ok(())
    }

    /// Hides what lowers have in the directory `path`, which is made if it is missing.
    pub fn opaque(&mut self, path: &[u8]) -> Result<()> {
        let path = trim(path);
        self.make_directory(path).map_err(error("create the directory", path))?.opaque = true;
        Ok(())
    }

    /// Takes out again what was written at `path`, if anything was, with all that is in it.
    pub(crate) fn remove(&mut self, path: &[u8]) -> Result<()> {
        let path = trim(path);
        self.clear(path).map_err(error("remove", path))
    }

    /// Sets what directories carry: opaque marks and attributes, the innermost first. The tree is
    /// complete then, and not yet synced.
    pub fn finish(self) -> Result<()> {
        let mut directories: Vec<_> = self
            .written
            .into_iter()
            .filter_map(|(path, written)| match written {
                Written::Directory(state) => Some((path, state)),
                Written::Other(_) | Written::LeftOut => None,
            })
            .collect();
        directories.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        for (path, state) in directories {
            finish_directory(&self.root, &path, &state)
                .map_err(error("set the attributes of", &path))?;
        }
        Ok(())
    }

    /// Makes an entry by `make`, in place of an earlier one.
    fn place<T>(
        &mut self,
        path: &[u8],
        kind: Kind,
        make: impl FnOnce(&Directory, &[u8]) -> io::Result<T>,
    ) -> io::Result<T> {
        self.clear(path)?;
        let (parent, name) = split(path);
        let result = make(self.parent(parent)?, name)?;
        self.remember(path, Written::Other(kind))?;
        Ok(result)
    }

    /// Keeps in mind what is at `path` now.
    fn remember(&mut self, path: &[u8], written: Written) -> io::Result<()> {
        self.names += path.len();
        if self.names > limits::NAMES_MAX {
            return Err(io::Error::other(
                "the paths of the layer are longer than 256 MiB together",
            ));
        }
        self.written.insert(path.into(), written);
        Ok(())
    }

    /// Removes an earlier entry at `path`.
    fn clear(&mut self, path: &[u8]) -> io::Result<()> {
        if path.is_empty() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "the root is a directory"));
        }
        let Some(earlier) = self.written.get(path) else { return Ok(()) };
        let kind = match earlier {
            Written::Directory(_) => Kind::Directory,
            Written::Other(kind) => *kind,
            Written::LeftOut => {
                self.written.remove(path);
                return Ok(());
            }
        };
        let (parent, name) = split(path);
        self.parent(parent)?.remove_all(name, kind)?;
        self.written.remove(path);
        if kind == Kind::Directory {
            // What is below has `/` after the path, which comes right before `0`.
            let [first, end] = [b"/", b"0"].map(|next| Box::from([path, next].concat()));
            self.written.extract_if(first..end, |_, _| true).for_each(drop);
            self.parent = None;
        }
        Ok(())
    }

    /// The directory at `path`, made if it is missing; a directory that takes the place of a whiteout
    /// is opaque.
    fn make_directory(&mut self, path: &[u8]) -> io::Result<&mut DirectoryState> {
        if !matches!(self.written.get(path), Some(Written::Directory(_))) {
            let opaque = matches!(self.written.get(path), Some(Written::Other(Kind::Whiteout)));
            self.clear(path)?;
            let (parent, name) = split(path);
            self.parent(parent)?.make_dir(name, 0o755)?;
            let state = DirectoryState { attributes: None, opaque };
            self.remember(path, Written::Directory(Box::new(state)))?;
        }
        match self.written.get_mut(path) {
            Some(Written::Directory(state)) => Ok(state),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The open directory at `path`, made if it is missing.
    fn parent(&mut self, path: &[u8]) -> io::Result<&Directory> {
        if self.parent.as_ref().is_none_or(|(open, _)| **open != *path) {
            self.make_parents(path)?;
            let directory = self.root.open_dir_at(components(path))?;
            self.parent = Some((path.into(), directory));
        }
        self.parent
            .as_ref()
            .map(|(_, directory)| directory)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn make_parents(&mut self, path: &[u8]) -> io::Result<()> {
        match self.written.get(path) {
            Some(Written::Directory(_)) => Ok(()),
            Some(Written::Other(kind)) if *kind != Kind::Whiteout => Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("`{}` is no directory in this layer", shown(path)),
            )),
            _ => {
                let (parent, name) = split(path);
                if !names::is_name(name) {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "not a path within the layer",
                    ));
                }
                self.make_parents(parent)?;
                self.make_directory(path).map(drop)
            }
        }
    }
}

fn finish_directory(root: &Directory, path: &[u8], state: &DirectoryState) -> io::Result<()> {
    if state.opaque {
        root.open_dir_at(components(path))?.set_opaque()?;
    }
    // The root and parents that the archive does not list are the same wherever it is unpacked.
    let implied = Attributes::new(0o755, SystemTime::UNIX_EPOCH);
    let attributes = state.attributes.as_ref().unwrap_or(&implied);
    if path.is_empty() {
        return root.set_own_attributes(attributes);
    }
    let (parent, name) = split(path);
    root.open_dir_at(components(parent))?.set_attributes(name, Kind::Directory, attributes)
}

fn error(action: &'static str, path: &[u8]) -> impl FnOnce(io::Error) -> TreeError {
    move |source| TreeError { action, path: shown(path), source }
}

fn trim(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(start, |last| last + 1);
    &path[start..end]
}

/// The parent and the name of a path that is not the root's.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
}
