//! What a guest of the fake sees of files: the snapshot, with volumes over it.

use std::{fs, io, path::PathBuf};

use silo_layers::{
    copy::{Mounted, Volume},
    union::{Access, Follow, FsError, OpenOptions, ROOT, UnionFs},
};

use crate::{Bundle, Error, MountKind, Result};

/// A container's files by absolute path, read and written whole.
pub struct Files {
    root: UnionFs,
    /// Destination, source, whether it is read-only.
    volumes: Vec<(String, PathBuf, bool)>,
}

impl Files {
    /// Opens the files of `bundle`.
    pub fn open(bundle: &Bundle) -> Result<Self> {
        let access = if bundle.root.readonly { Access::ReadOnly } else { Access::ReadWrite };
        let root = UnionFs::open(&bundle.root.snapshot, access).map_err(|source| Error::Step {
            step: "open the container's files".to_owned(),
            source: source.into(),
        })?;
        let volumes = bundle.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Bind { source } => {
                Some((mount.destination.clone() + "/", source.clone(), mount.readonly))
            }
            MountKind::Tmpfs { .. } => None,
        });
        Ok(Self { root, volumes: volumes.collect() })
    }

    /// The whole content.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        if let Some((host, _)) = self.in_volume(path)? {
            return fs::read(host);
        }
        let node = self.root.resolve(ROOT, path, Follow::All).map_err(into_io)?;
        let file = self.root.open_file(node, OpenOptions::READ).map_err(into_io)?;
        let size = self.root.stat(node).map_err(into_io)?.size;
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        let read = file.read_at(&mut bytes, 0).map_err(into_io)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Makes the file or replaces its content.
    pub fn write(&self, path: &str, content: &[u8]) -> io::Result<()> {
        if let Some((host, readonly)) = self.in_volume(path)? {
            return if readonly {
                Err(io::ErrorKind::ReadOnlyFilesystem.into())
            } else {
                fs::write(host, content)
            };
        }
        let (parent, name) = self.root.resolve_parent(ROOT, path).map_err(into_io)?;
        let (_, file) = self.root.create(parent, &name, false, 0o644).map_err(into_io)?;
        file.set_len(0).map_err(into_io)?;
        file.write_at(content, 0).map_err(into_io)?;
        Ok(())
    }

    /// The same files, to copy from and to.
    #[must_use]
    pub fn to_copy(&self) -> Mounted {
        let volumes = self.volumes.iter().map(|(destination, source, readonly)| Volume {
            destination: destination.clone(),
            source: source.clone(),
            readonly: *readonly,
        });
        Mounted::new(self.root.clone(), false, volumes)
    }

    /// Removes the file.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let (parent, name) = self.root.resolve_parent(ROOT, path).map_err(into_io)?;
        self.root.unlink(parent, &name).map_err(into_io)
    }

    /// The host's file for a path in a volume. Guests of the fake are trusted, and still no path
    /// of theirs leaves the volume by its text.
    fn in_volume(&self, path: &str) -> io::Result<Option<(PathBuf, bool)>> {
        let found = self.volumes.iter().rev().find_map(|(destination, source, readonly)| {
            path.strip_prefix(destination).map(|rest| (rest, source, *readonly))
        });
        let Some((rest, source, readonly)) = found else { return Ok(None) };
        if rest.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Some((source.join(rest), readonly)))
    }
}

fn into_io(error: FsError) -> io::Error {
    io::Error::other(error)
}
