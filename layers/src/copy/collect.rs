//! From the host to an archive.

use std::{
    ffi::OsString,
    fs::{self, Metadata},
    io::Write,
    path::{Path, PathBuf},
};

use super::place::{CopyError, Source};
use crate::{
    error::Error,
    pack::{Archive, Pending},
    tree::Attributes,
};

/// The name in the archive of what was named, which gives way to the one that it gets.
const FIRST: &[u8] = b"copy";

/// A file or directory of the host that is copied.
#[derive(Debug)]
pub struct HostSource<'a> {
    path: &'a Path,
    follow: bool,
    is_directory: bool,
}

impl<'a> HostSource<'a> {
    /// What is at `path`; `follow` has a symbolic link there followed.
    pub fn open(path: &'a Path, follow: bool) -> Result<Self, CopyError> {
        let metadata = look(path, follow)?;
        Ok(Self { path, follow, is_directory: metadata.is_dir() })
    }

    /// What says where the copy goes.
    #[must_use]
    pub fn source(&self) -> Source {
        Source::named(&self.path.to_string_lossy(), self.is_directory)
    }

    /// Writes it, with all that is in it, as an archive. Returns the paths of what a container gets
    /// no copy of: sockets, fifos and devices.
    pub fn pack(&self, output: &mut dyn Write) -> Result<Vec<String>, CopyError> {
        let mut packer = Packer { archive: Archive::new(output), skipped: Vec::new() };
        let mut pending = Pending::new();
        let mut next = Some((FIRST.to_vec(), self.path.to_owned()));
        // What was named is followed where that was asked for, and nothing that is in it.
        let mut follow = self.follow;
        while let Some((path, host)) = next {
            if packer.entry(&path, &host, follow)? {
                pending.add(&path, list(&host)?);
            }
            follow = false;
            next = pending.next();
        }
        packer.archive.finish()?;
        Ok(packer.skipped)
    }
}

fn look(path: &Path, follow: bool) -> Result<Metadata, CopyError> {
    let metadata = if follow { path.metadata() } else { path.symlink_metadata() };
    Ok(metadata.map_err(Error::io("look at", path))?)
}

/// A name with its path on the host.
type Named = (Box<[u8]>, PathBuf);

fn list(directory: &Path) -> Result<Vec<Named>, CopyError> {
    let entries = fs::read_dir(directory).map_err(Error::io("list", directory))?;
    entries
        .map(|entry| {
            let entry = entry.map_err(Error::io("list", directory))?;
            Ok((text(entry.file_name())?.into_bytes().into(), entry.path()))
        })
        .collect()
}

fn text(name: OsString) -> Result<String, CopyError> {
    let refused = |name: OsString| CopyError::Name { name: name.to_string_lossy().into_owned() };
    name.into_string().map_err(refused)
}

struct Packer<W: Write> {
    archive: Archive<W>,
    skipped: Vec<String>,
}

impl<W: Write> Packer<W> {
    /// Writes what is at `host`, of a directory only itself. Tells whether it is one.
    fn entry(&mut self, path: &[u8], host: &Path, follow: bool) -> Result<bool, CopyError> {
        let metadata = look(host, follow)?;
        let attributes = attributes(&metadata, host)?;
        if metadata.is_dir() {
            self.archive.directory(path, &attributes)?;
        } else if metadata.is_symlink() {
            let target = fs::read_link(host).map_err(Error::io("read", host))?;
            let target = text(target.into_os_string())?;
            self.archive.symlink(path, target.as_bytes(), &attributes)?;
        } else if metadata.is_file() {
            let content = fs::File::open(host).map_err(Error::io("open", host))?;
            self.archive.content(path, metadata.len(), &attributes, content)?;
        } else {
            self.skipped.push(host.display().to_string());
        }
        Ok(metadata.is_dir())
    }
}

fn attributes(metadata: &Metadata, host: &Path) -> Result<Attributes, CopyError> {
    let mtime = metadata.modified().map_err(Error::io("look at", host))?;
    #[allow(unused_mut, reason = "only Unix has modes and owners")]
    let mut attributes = Attributes::new(if metadata.is_dir() { 0o755 } else { 0o644 }, mtime);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        attributes.mode = metadata.mode() & 0o7777;
        attributes.uid = metadata.uid();
        attributes.gid = metadata.gid();
    }
    Ok(attributes)
}
