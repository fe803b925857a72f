//! Where a copy goes (Docker's reference, "docker container cp").

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use crate::{error::Error, union::FsError};

/// A copy could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// On the side of the guest.
    #[error("cannot copy `{path}` of the container")]
    Guest {
        /// The path in the guest.
        path: String,
        /// Why.
        source: FsError,
    },
    /// A directory cannot take the place of a file.
    #[error("cannot copy a directory to the file `{path}`")]
    DirectoryToFile {
        /// The target.
        path: String,
    },
    /// A file cannot take the place of a directory.
    #[error("cannot copy over the directory `{path}`")]
    FileToDirectory {
        /// The target.
        path: String,
    },
    /// What is no file cannot be replaced.
    #[error("cannot copy over `{path}`, which is neither a file nor a directory")]
    NoFile {
        /// The target.
        path: String,
    },
    /// On the side of the host, of what an archive holds.
    #[error("cannot copy to `{path}`")]
    Target {
        /// The path on the host.
        path: String,
        /// Why.
        source: FsError,
    },
    /// An archive is unpacked into a directory.
    #[error("`{path}` is no directory of the container")]
    NoDirectory {
        /// The target.
        path: String,
    },
    /// A name of the host is not UTF-8.
    #[error("`{name}` is not UTF-8 and can be no name in a container")]
    Name {
        /// The name, with U+FFFD for what is not.
        name: String,
    },
    /// Owners are wanted and cannot be kept.
    #[error("cannot keep the owners of files: {reason}")]
    NoOwners {
        /// Why, in one clause.
        reason: &'static str,
    },
    /// On the side of the host.
    #[error(transparent)]
    Host(#[from] Error),
}

impl CopyError {
    pub(crate) fn guest(path: &str) -> impl FnOnce(FsError) -> Self {
        let path = path.to_owned();
        move |source| Self::Guest { path, source }
    }

    pub(crate) const fn no_owners(reason: &'static str) -> Self {
        Self::NoOwners { reason }
    }
}

/// What is copied, as far as it says where the copy goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    is_directory: bool,
    /// It was written with `/.` at its end: what is in it is meant.
    content: bool,
    name: String,
}

/// What is at the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Missing,
    File,
    Directory,
}

/// Where the copy goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the target.
    Itself,
    /// Into the target, under this name.
    Below(String),
    /// What is in the source goes into the target.
    Content,
}

impl Source {
    /// Of what was written as `path`.
    #[must_use]
    pub fn named(path: &str, is_directory: bool) -> Self {
        let trimmed = path.trim_end_matches('/');
        let content = trimmed == "." || trimmed.ends_with("/.") || trimmed.is_empty();
        let name = trimmed.rsplit(['/', std::path::MAIN_SEPARATOR]).next().unwrap_or_default();
        Self { is_directory, content, name: name.to_owned() }
    }
}

pub(super) fn place(source: &Source, target: Target) -> Result<Place, CopyError> {
    let path = || source.name.clone();
    match (source.is_directory, target) {
        (true, Target::File) => Err(CopyError::DirectoryToFile { path: path() }),
        (true, Target::Directory) if source.content => Ok(Place::Content),
        (_, Target::Directory) => Ok(Place::Below(source.name.clone())),
        (_, Target::Missing | Target::File) => Ok(Place::Itself),
    }
}

/// What is at the host's path. One that ends in a separator names a directory, which must exist.
pub(super) fn host_target(path: &Path) -> Result<Target, CopyError> {
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(Target::Directory),
        Ok(_) => Ok(Target::File),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && !path.as_os_str().as_encoded_bytes().ends_with(b"/") =>
        {
            Ok(Target::Missing)
        }
        Err(error) => Err(Error::io("copy to", path)(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(source: &str, is_directory: bool, target: Target) -> Option<Place> {
        place(&Source::named(source, is_directory), target).ok()
    }

    #[test]
    fn copies_go_where_docker_puts_them() {
        let below = |name: &str| Some(Place::Below(name.to_owned()));
        for (source, is_directory, target, expected) in [
            ("/a/file", false, Target::Missing, Some(Place::Itself)),
            ("/a/file", false, Target::File, Some(Place::Itself)),
            ("/a/file", false, Target::Directory, below("file")),
            ("/a/dir", true, Target::Missing, Some(Place::Itself)),
            ("/a/dir", true, Target::File, None),
            ("/a/dir", true, Target::Directory, below("dir")),
            ("/a/dir/", true, Target::Directory, below("dir")),
            ("/a/dir/.", true, Target::Directory, Some(Place::Content)),
            (".", true, Target::Directory, Some(Place::Content)),
            ("/", true, Target::Directory, Some(Place::Content)),
        ] {
            assert_eq!(placed(source, is_directory, target), expected, "{source} to {target:?}");
        }
    }
}
