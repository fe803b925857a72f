//! What can go wrong with images and the store.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{Digest, Platform, digest::InvalidDigest, reference::InvalidReference};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An image or the store could not be worked with.
///
/// A message says what failed and never repeats its source's text; [`Error::hint`] says what
/// to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file.
    #[error("cannot {verb} `{}`", path.display())]
    Io {
        /// What was attempted: `open`, `write`.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The text is not an image reference.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// The text is not a digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// The store has no image of this name or id.
    #[error("no such image: {0}")]
    NoSuchImage(String),
    /// An abbreviated id fits several images.
    #[error("`{0}` is the beginning of more than one image's id")]
    AmbiguousId(String),
    /// The image exists, for other platforms.
    #[error("image {name} has no {}; it has {}", list(wanted), list(available))]
    NoSuchPlatform {
        /// The image, as it was asked for.
        name: String,
        /// The platforms that would have done.
        wanted: Vec<Platform>,
        /// The platforms that the store holds of it.
        available: Vec<Platform>,
    },
    /// The image is needed: by a container, or under other names.
    #[error("image {name} is in use: {reason}")]
    InUse {
        /// The image, as it was asked for.
        name: String,
        /// By what.
        reason: &'static str,
    },
    /// The input is no image archive of a known kind.
    #[error("`{}` is not an image: {reason}", path.display())]
    NotAnImage {
        /// The input.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// The bytes are no archive.
    #[error("{what} is not in tar format")]
    NotTar {
        /// What it was taken for.
        what: String,
    },
    /// An archive ends before it should.
    #[error("{what} is truncated")]
    Truncated {
        /// The archive, layer or blob.
        what: String,
    },
    /// Content differs from the digest that names it.
    #[error("{what} does not match its digest: expected {expected}, found {found}")]
    DigestMismatch {
        /// The blob or layer.
        what: String,
        /// The digest that names it.
        expected: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// Content is longer or shorter than its descriptor says.
    #[error("{what} is {found} bytes long, its descriptor says {expected}")]
    SizeMismatch {
        /// The blob.
        what: String,
        /// Bytes, by its descriptor.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// A descriptor has a media type that this crate cannot handle in its place.
    #[error("{what} has the unknown media type `{media_type}`")]
    MediaType {
        /// The manifest, config or layer.
        what: String,
        /// Its media type.
        media_type: String,
    },
    /// A manifest, index or config is not what its specification says.
    #[error("{what} is malformed")]
    Malformed {
        /// The document.
        what: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The parts of an image contradict each other.
    #[error("{what} is inconsistent: {reason}")]
    Inconsistent {
        /// The image, manifest or archive.
        what: String,
        /// How.
        reason: String,
    },
    /// A blob that an image needs is neither in the input nor in the store.
    #[error("{what} needs the blob {digest}, which is missing")]
    MissingBlob {
        /// What refers to it.
        what: String,
        /// The blob.
        digest: Digest,
    },
    /// A layer's archive is compressed in a way that is not supported.
    #[error("{what} is compressed with {algorithm}, which is not supported")]
    Compression {
        /// The archive.
        what: String,
        /// `xz`, `bzip2`.
        algorithm: &'static str,
    },
    /// An archive's or layer's bytes cannot be read.
    #[error("cannot read {what}")]
    Read {
        /// The archive or layer.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A layer holds an entry that would reach outside of it, or that no archiver writes.
    #[error("refused entry `{entry}` of the layer: {reason}")]
    RefusedEntry {
        /// The entry's path, as it stands in the archive.
        entry: String,
        /// Why.
        reason: &'static str,
    },
    /// An archive is far larger than what it was unpacked from, as nothing but an attack is.
    #[error("decompression was stopped: {packed} bytes are already {unpacked} bytes unpacked")]
    Bomb {
        /// Bytes of archives that were read.
        packed: u64,
        /// Bytes that they became.
        unpacked: u64,
    },
    /// A document is longer than any that an image needs.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// The manifest, index or config.
        what: String,
        /// Bytes that are allowed.
        limit: u64,
    },
    /// An entry of a layer could not be written.
    #[error("cannot {verb} `{entry}` of the layer")]
    Unpack {
        /// What was attempted: `create`, `write`.
        verb: &'static str,
        /// The entry's path, as it stands in the archive.
        entry: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A file of a container or an image could not be put in an archive.
    #[error("cannot {verb} `{entry}`")]
    Pack {
        /// What was attempted: `read`, `list`.
        verb: &'static str,
        /// The entry's path in the guest.
        entry: String,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was asked for could not be written to where it should go.
    #[error("cannot write {what}")]
    Write {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The directory holds something else than a store of this version.
    #[error("`{}` is not a store: {reason}", path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// What speaks against it.
        reason: &'static str,
    },
}

/// Foreign bytes as text of one line for a message: what a terminal might take for a command is
/// escaped, and what is long is cut.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 256;
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::new();
    for character in text.chars() {
        if shown.len() >= LONGEST {
            shown.push('…');
            break;
        }
        if character.is_control() || is_formatting(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Line separators, and marks that let text run the other way (Unicode, UAX #9).
fn is_formatting(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl Error {
    /// An [`Error::Io`] for `map_err`.
    pub(crate) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { verb, path: path.to_owned(), source }
    }

    /// A failure to read `what`; an early end of it is [`Error::Truncated`], and an error of
    /// this crate that travelled through a reader comes out as itself.
    pub(crate) fn read(what: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.downcast::<Self>() {
            Ok(error) => error,
            Err(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Truncated { what: what.to_owned() }
            }
            Err(source) => Self::Read { what: what.to_owned(), source },
        }
    }

    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } | Self::Unpack { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Some("choose a store that you may write to with --root DIR or SILO_ROOT")
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Some("free some space, or choose a store on another disk with --root DIR")
                }
                _ => None,
            },
            Self::NoSuchImage(_) => Some(
                "`silo images` lists what there is; `silo pull`, `load` and `import` add to it",
            ),
            Self::NoSuchPlatform { .. } => Some("choose one of them with --platform"),
            Self::AmbiguousId(_) => Some("give more digits of it"),
            Self::InUse { .. } => Some("force its removal with --force"),
            Self::Compression { .. } => Some("decompress it first"),
            Self::Truncated { .. } | Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => {
                Some("fetch or make it again: it was damaged or not copied whole")
            }
            Self::NotAnImage { .. } => {
                Some("a plain root file system archive is added with `silo import FILE NAME`")
            }
            _ => None,
        }
    }
}

fn list(platforms: &[Platform]) -> String {
    let names: Vec<String> = platforms.iter().map(Platform::to_string).collect();
    match names.as_slice() {
        [] => "no platform".to_owned(),
        names => names.join(", "),
    }
}
