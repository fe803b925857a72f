//! Why an operation on a guest's file was refused.

use std::io;

/// An error in POSIX's words, for a guest that expects POSIX.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FsError {
    /// No such file or directory.
    #[error("no such file or directory")]
    NotFound,
    /// The file exists.
    #[error("the file exists")]
    Exists,
    /// Not a directory.
    #[error("not a directory")]
    NotDirectory,
    /// A directory.
    #[error("is a directory")]
    IsDirectory,
    /// The directory is not empty.
    #[error("the directory is not empty")]
    NotEmpty,
    /// More than 40 symbolic links, or a link where a file is wanted.
    #[error("too many symbolic links")]
    Loop,
    /// A name of more than 255 bytes, or a path of more than 4095.
    #[error("the name is too long")]
    NameTooLong,
    /// The file system is read-only.
    #[error("the file system is read-only")]
    ReadOnly,
    /// Not within one file system.
    #[error("not on the same file system")]
    CrossDevice,
    /// The host refused access.
    #[error("access denied")]
    Access,
    /// Not permitted on this kind of file.
    #[error("operation not permitted")]
    NotPermitted,
    /// An argument that is never valid.
    #[error("invalid argument")]
    Invalid,
    /// The file system is full.
    #[error("no space left")]
    NoSpace,
    /// The file is not open for that.
    #[error("bad file handle")]
    BadHandle,
    /// What it is in use as forbids it.
    #[error("in use")]
    Busy,
    /// The file is too large.
    #[error("the file is too large")]
    TooLarge,
    /// Not a kind of file, or an operation, that this file system serves.
    #[error("not supported")]
    Unsupported,
    /// The host failed otherwise.
    #[error("input or output failed")]
    Io(#[source] io::Error),
}

/// The result of an operation on a guest's file.
pub type FsResult<T> = Result<T, FsError>;

impl FsError {
    /// The name of the error in errno(3).
    #[must_use]
    pub const fn errno(&self) -> &'static str {
        match self {
            Self::NotFound => "ENOENT",
            Self::Exists => "EEXIST",
            Self::NotDirectory => "ENOTDIR",
            Self::IsDirectory => "EISDIR",
            Self::NotEmpty => "ENOTEMPTY",
            Self::Loop => "ELOOP",
            Self::NameTooLong => "ENAMETOOLONG",
            Self::ReadOnly => "EROFS",
            Self::CrossDevice => "EXDEV",
            Self::Access => "EACCES",
            Self::NotPermitted => "EPERM",
            Self::Invalid => "EINVAL",
            Self::NoSpace => "ENOSPC",
            Self::BadHandle => "EBADF",
            Self::Busy => "EBUSY",
            Self::TooLarge => "EFBIG",
            Self::Unsupported => "ENOTSUP",
            Self::Io(_) => "EIO",
        }
    }
}

impl From<io::Error> for FsError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::NotFound => Self::NotFound,
            Kind::AlreadyExists => Self::Exists,
            Kind::NotADirectory => Self::NotDirectory,
            Kind::IsADirectory => Self::IsDirectory,
            Kind::DirectoryNotEmpty => Self::NotEmpty,
            Kind::InvalidFilename => Self::NameTooLong,
            Kind::ReadOnlyFilesystem => Self::ReadOnly,
            Kind::CrossesDevices => Self::CrossDevice,
            Kind::PermissionDenied => Self::Access,
            Kind::InvalidInput => Self::Invalid,
            Kind::StorageFull | Kind::QuotaExceeded => Self::NoSpace,
            Kind::ResourceBusy => Self::Busy,
            Kind::FileTooLarge => Self::TooLarge,
            Kind::Unsupported => Self::Unsupported,
            _ => Self::Io(error),
        }
    }
}
