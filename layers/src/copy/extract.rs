//! From an archive to the host.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    entries,
    guest::{LiveTree, Side, Unpacker},
    place::{self, CopyError, Place, Source},
};
use crate::{error::Error, tarball::Reader, tree, union::FsError};

/// Unpacks at the host's `target` the copy of what was written as `path` of a container. No link
/// there, old or new, leads a copy out of it. Returns the paths of what a host gets no copy of:
/// fifos and devices.
///
/// Set-user-ID and set-group-ID mean somebody else on the host, and are left out unless owners are
/// kept. The copies are this user's else.
pub fn unpack_host(
    archive: &mut dyn Read,
    path: &str,
    target: &Path,
    owners: bool,
) -> Result<Vec<String>, CopyError> {
    // The ids that are lent to a user are nobody's on the host.
    if owners && !tree::is_privileged() {
        return Err(CopyError::no_owners(super::NO_OWNERS));
    }
    let mut reader = Reader::new(archive);
    let Some(first) = entries::next(&mut reader)? else {
        return Err(CopyError::guest(path)(FsError::NotFound));
    };
    let is_directory = entries::kind(&first) == tar::EntryType::Directory;
    let place = place::place(&Source::named(path, is_directory), place::host_target(target)?)?;
    let (directory, name) = match place {
        Place::Itself => {
            (parent(target), Some(PathBuf::from(target.file_name().unwrap_or_default())))
        }
        Place::Below(name) => (target, Some(PathBuf::from(name))),
        Place::Content => (target, None),
    };
    let tree = LiveTree::open(directory).map_err(Error::io("open", directory))?;
    let name = name.map(|name| name.into_os_string().into_encoded_bytes());
    let side = Side::Host { directory, owners };
    Unpacker::new(&tree, side, &first, name)?.all(Some(first), &mut reader)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
