//! Where host systems differ.

use std::{fs, io, path::Path, time::SystemTime};

use cap_std::fs::{Dir, FileType, Metadata};

use super::super::{ErrorCode, FileKind, Result};

/// Refuses names that the host's file system reads as more than one name.
#[cfg(not(windows))]
pub(super) fn check_name(name: &str) -> Result<()> {
    if name.len() > 255 { Err(ErrorCode::NameTooLong) } else { Ok(()) }
}

/// Refuses names that the host's file system reads as more than one name: separators, drive
/// letters and streams.
#[cfg(windows)]
pub(super) fn check_name(name: &str) -> Result<()> {
    if name.contains(['\\', ':', '<', '>', '"', '|', '?', '*']) {
        return Err(ErrorCode::Invalid);
    }
    if name.len() > 255 { Err(ErrorCode::NameTooLong) } else { Ok(()) }
}

#[cfg(unix)]
pub(super) fn kind(file_type: FileType) -> FileKind {
    use cap_std::fs::FileTypeExt as _;
    if file_type.is_dir() {
        FileKind::Directory
    } else if file_type.is_symlink() {
        FileKind::Symlink
    } else if file_type.is_char_device() {
        FileKind::CharDevice
    } else if file_type.is_block_device() {
        FileKind::BlockDevice
    } else if file_type.is_fifo() {
        FileKind::Fifo
    } else if file_type.is_socket() {
        FileKind::Socket
    } else {
        FileKind::File
    }
}

#[cfg(not(unix))]
pub(super) fn kind(file_type: FileType) -> FileKind {
    if file_type.is_dir() {
        FileKind::Directory
    } else if file_type.is_symlink() {
        FileKind::Symlink
    } else {
        FileKind::File
    }
}

#[cfg(unix)]
pub(super) fn nlink(metadata: &Metadata) -> u64 {
    cap_std::fs::MetadataExt::nlink(metadata)
}

#[cfg(unix)]
pub(super) fn inode(metadata: &Metadata) -> u64 {
    cap_std::fs::MetadataExt::ino(metadata)
}

#[cfg(unix)]
pub(super) fn ctime(metadata: &Metadata) -> Option<SystemTime> {
    use cap_std::fs::MetadataExt as _;
    since_1970(metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(unix)]
pub(super) fn read_at(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(unix)]
pub(super) fn write_at(file: &fs::File, buffer: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, buffer, offset)
}

#[cfg(unix)]
pub(super) fn symlink(dir: &Dir, target: &str, path: &Path) -> io::Result<()> {
    dir.symlink_contents(target, path)
}

#[cfg(windows)]
pub(super) fn nlink(_: &Metadata) -> u64 {
    1
}

#[cfg(windows)]
pub(super) fn inode(metadata: &Metadata) -> u64 {
    // Windows tells file numbers only by handle; creation time distinguishes well enough.
    cap_std::fs::MetadataExt::creation_time(metadata)
}

#[cfg(windows)]
pub(super) fn ctime(_: &Metadata) -> Option<SystemTime> {
    None
}

#[cfg(windows)]
pub(super) fn read_at(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(windows)]
pub(super) fn write_at(file: &fs::File, buffer: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, buffer, offset)
}

/// Links need a privilege on Windows, and know beforehand whether they lead to a directory.
#[cfg(windows)]
pub(super) fn symlink(_: &Dir, _: &str, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other hosts have none")]
pub(super) fn mode(metadata: &Metadata) -> Option<u32> {
    Some(cap_std::fs::MetadataExt::mode(metadata) & 0o7777)
}

/// Sets the permissions of a file or directory.
#[cfg(unix)]
pub(super) fn set_mode(dir: &Dir, path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let file = if dir.symlink_metadata(path)?.is_dir() {
        dir.open_dir(path)?.into_std_file()
    } else {
        dir.open(path)?.into_std()
    };
    file.set_permissions(fs::Permissions::from_mode(mode & 0o7777))
}

#[cfg(windows)]
pub(super) fn mode(_: &Metadata) -> Option<u32> {
    None
}

#[cfg(windows)]
#[expect(clippy::unnecessary_wraps, reason = "other hosts fail")]
pub(super) fn set_mode(_: &Dir, _: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

/// Sets the times that are given, of files and directories.
pub(super) fn set_times(
    dir: &Dir,
    path: &Path,
    atime: Option<SystemTime>,
    mtime: Option<SystemTime>,
) -> io::Result<()> {
    let mut times = fs::FileTimes::new();
    if let Some(time) = atime {
        times = times.set_accessed(time);
    }
    if let Some(time) = mtime {
        times = times.set_modified(time);
    }
    let metadata = dir.symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let file = if metadata.is_dir() {
        dir.open_dir(path)?.into_std_file()
    } else {
        let mut options = cap_std::fs::OpenOptions::new();
        // Windows sets times only through a handle that may write.
        options.read(!cfg!(windows)).write(cfg!(windows));
        dir.open_with(path, &options)?.into_std()
    };
    file.set_times(times)
}

/// The system's time from seconds and nanoseconds since 1970.
#[cfg(unix)]
fn since_1970(seconds: i64, nanoseconds: i64) -> Option<SystemTime> {
    let seconds = u64::try_from(seconds).ok()?;
    SystemTime::UNIX_EPOCH
        .checked_add(std::time::Duration::new(seconds, u32::try_from(nanoseconds).ok()?))
}
