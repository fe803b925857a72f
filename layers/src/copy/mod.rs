//! Copies between a guest's files and the host's, as `docker cp` makes them.

mod inward;
mod outward;
mod place;

use std::{
    fs,
    io::{BufReader, Read},
    path::Path,
};

use crate::{
    Store,
    compression::Compression,
    error::{Error, Result},
    store::Work,
    union::{FileKind, Follow, FsError, FsResult, Node, ROOT, UnionFs},
};

pub use self::place::CopyError;
use self::place::{Place, Source, Target};

/// Copies the guest's `path` to the host's `target`: a file, or a directory with all that is in it,
/// into `target` where that is a directory, else under that name. `follow` has a symbolic link at
/// `path` followed. Returns the paths of the guest that a host can have no copy of: sockets, fifos
/// and devices.
///
/// Copies have the permissions and times of what they are copies of, but for set-user-ID and
/// set-group-ID, which mean somebody else on the host.
pub fn copy_out(
    files: &UnionFs,
    path: &str,
    target: &Path,
    follow: bool,
) -> Result<Vec<String>, CopyError> {
    let node = source_node(files, path, follow)?;
    let source = Source::named(path, is_directory(files, node).map_err(CopyError::guest(path))?);
    let place = place::place(&source, place::host_target(target)?)?;
    outward::copy(files, node, path, &place, target)
}

/// Copies the host's `source` to the guest's `path`, as [`copy_out`] does the other way. The copies
/// are root's.
pub fn copy_in(
    source: &Path,
    files: &UnionFs,
    path: &str,
    follow: bool,
) -> Result<Vec<String>, CopyError> {
    let metadata = if follow { source.metadata() } else { source.symlink_metadata() };
    let metadata = metadata.map_err(Error::io("look at", source))?;
    let from = Source::named(&source.to_string_lossy(), metadata.is_dir());
    let place = place::place(&from, guest_target(files, path).map_err(CopyError::guest(path))?)?;
    inward::copy(source, follow, files, path, &place)
}

impl Store {
    /// Unpacks an archive, which may be compressed, into the guest's directory `path`, by way of this
    /// store's place for unfinished work.
    pub fn copy_archive_in(
        &self,
        archive: &mut dyn Read,
        files: &UnionFs,
        path: &str,
    ) -> Result<Vec<String>, CopyError> {
        if guest_target(files, path).map_err(CopyError::guest(path))? != Target::Directory {
            return Err(CopyError::NoDirectory { path: path.to_owned() });
        }
        let what = "the archive";
        let mut input = BufReader::new(archive);
        let compression = Compression::detect(&mut input, what)?;
        let work = Work::new(self)?;
        let unpacked = work.path("archive");
        fs::create_dir(&unpacked).map_err(Error::io("create", &unpacked))?;
        unpack(compression.decoder(input, work.budget()), &unpacked, what)?;
        inward::copy(&unpacked, false, files, path, &Place::Content)
    }
}

/// Unpacks an archive for this user, as tar(1) does. What leads out of the directory is refused.
fn unpack(archive: impl Read, into: &Path, what: &str) -> Result<()> {
    let mut archive = tar::Archive::new(archive);
    let mut any = false;
    for entry in archive.entries().map_err(Error::read(what))? {
        let mut entry = match entry {
            Err(_) if !any => return Err(Error::NotTar { what: what.to_owned() }),
            entry => entry.map_err(Error::read(what))?,
        };
        any = true;
        if !entry.unpack_in(into).map_err(Error::read(what))? {
            let entry = crate::error::shown(&entry.path_bytes());
            return Err(Error::RefusedEntry { entry, reason: "it leads out of the directory" });
        }
    }
    Ok(())
}

/// The node that is to be copied.
pub fn source_node(files: &UnionFs, path: &str, follow: bool) -> Result<Node, CopyError> {
    let follow = if follow || path.ends_with('/') || path.ends_with("/.") {
        Follow::All
    } else {
        Follow::AllButLast
    };
    files.resolve(ROOT, path, follow).map_err(CopyError::guest(path))
}

fn is_directory(files: &UnionFs, node: Node) -> FsResult<bool> {
    Ok(files.kind(node)? == FileKind::Directory)
}

fn guest_target(files: &UnionFs, path: &str) -> FsResult<Target> {
    match files.resolve(ROOT, path, Follow::All) {
        Ok(node) if is_directory(files, node)? => Ok(Target::Directory),
        Ok(_) => Ok(Target::File),
        Err(FsError::NotFound) if path.ends_with('/') => Err(FsError::NotFound),
        Err(FsError::NotFound) => Ok(Target::Missing),
        Err(error) => Err(error),
    }
}
