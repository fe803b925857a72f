//! What `Encoding::Overlay` needs from Linux: device nodes, owners and extended attributes.
//!
//! Names are single components, and each call either can't follow a symbolic link or is made for a
//! kind that is none.

use std::{ffi::CString, fs::File, io, path::Path, sync::OnceLock, time::SystemTime};

use cap_std::fs::Dir;
use rustix::{
    fd::OwnedFd,
    fs::{
        self, AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid,
        XattrFlags,
    },
    io::Errno,
};

use super::{Attributes, Entry, Kind, Special};

/// Whether this process is root of the machine: root elsewhere (in a user namespace) can neither make
/// devices nor set `trusted.*` attributes (`user_namespaces(7)`, xattr(7)).
pub(super) fn privileged() -> bool {
    static PRIVILEGED: OnceLock<bool> = OnceLock::new();
    *PRIVILEGED.get_or_init(|| {
        let all_ids_mapped = std::fs::read_to_string("/proc/self/uid_map")
            .is_ok_and(|map| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]));
        rustix::process::geteuid().is_root() && all_ids_mapped
    })
}

/// Whether this process is root of a user namespace with others in it, be it that of the machine.
pub(super) fn keeps_owners() -> bool {
    static KEEPS: OnceLock<bool> = OnceLock::new();
    *KEEPS.get_or_init(|| {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let counts = map.lines().filter_map(|line| line.split_ascii_whitespace().nth(2));
        let mapped: u64 = counts.filter_map(|count| count.parse::<u64>().ok()).sum();
        rustix::process::geteuid().is_root() && mapped > 1
    })
}

/// Why an owner cannot be given: there is no such id here.
fn no_such_id(errno: Errno, user: Option<u32>, group: u32) -> io::Error {
    if errno != Errno::INVAL || privileged() {
        return errno.into();
    }
    let user = user.map_or_else(String::new, |user| format!("user {user} or "));
    io::Error::other(format!(
        "{user}group {group} is beyond the ids that /etc/subuid and /etc/subgid lend to this user"
    ))
}

fn opaque_attribute() -> &'static str {
    if privileged() { "trusted.overlay.opaque" } else { "user.overlay.opaque" }
}

/// All entries of a directory, and whether it is opaque.
pub(super) fn listing(dir: &Dir) -> io::Result<(Vec<Entry>, bool)> {
    let directory = readable(dir, Path::new("."))?;
    let opaque = is_marked_opaque(&directory)?;
    let mut entries = Vec::new();
    for entry in fs::Dir::new(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            let stat = || fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
            let kind = match entry.file_type() {
                // Some file systems do not tell (readdir(3)).
                FileType::Unknown => kind_of(&stat()?)?,
                file_type => kind(file_type, || Ok(stat()?.st_rdev))?,
            };
            entries.push(Entry { name: name.to_bytes().into(), kind });
        }
    }
    Ok((entries, opaque))
}

/// What an entry is, if there is one.
pub(super) fn find(dir: &Dir, name: &Path) -> io::Result<Option<Kind>> {
    match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => kind_of(&stat).map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn kind_of(stat: &fs::Stat) -> io::Result<Kind> {
    kind(FileType::from_raw_mode(stat.st_mode), || Ok(stat.st_rdev))
}

fn kind(file_type: FileType, device: impl FnOnce() -> io::Result<u64>) -> io::Result<Kind> {
    Ok(match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::CharacterDevice if device()? == 0 => Kind::Whiteout,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::Unknown => return Err(io::ErrorKind::InvalidData.into()),
    })
}

pub(super) fn make_special(dir: &Dir, name: &Path, special: Special, mode: u32) -> io::Result<()> {
    let (file_type, device) = match special {
        Special::Fifo => (FileType::Fifo, 0),
        Special::Socket => (FileType::Socket, 0),
        Special::Char { major, minor } => (FileType::CharacterDevice, fs::makedev(major, minor)),
        Special::Block { major, minor } => (FileType::BlockDevice, fs::makedev(major, minor)),
    };
    Ok(fs::mknodat(dir, name, file_type, Mode::from_raw_mode(mode & 0o7777), device)?)
}

/// Major and minor number of an `st_rdev`.
pub(super) fn device_numbers(rdev: u64) -> (u32, u32) {
    (fs::major(rdev), fs::minor(rdev))
}

/// The directory's own handle is a path only (`O_PATH`), which has no attributes.
fn readable(dir: &Dir, name: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(fs::openat(dir, name, flags, Mode::empty())?)
}

pub(super) fn is_opaque(dir: &Dir) -> io::Result<bool> {
    is_marked_opaque(&readable(dir, Path::new("."))?)
}

fn is_marked_opaque(directory: &OwnedFd) -> io::Result<bool> {
    is_opaque_mark(|value| fs::fgetxattr(directory, opaque_attribute(), value))
}

/// The same of a path of the host.
pub(super) fn is_opaque_path(path: &Path) -> io::Result<bool> {
    is_opaque_mark(|value| fs::lgetxattr(path, opaque_attribute(), value))
}

fn is_opaque_mark(
    read: impl FnOnce(&mut [u8; 1]) -> rustix::io::Result<usize>,
) -> io::Result<bool> {
    let mut value = [0; 1];
    match read(&mut value) {
        Ok(length) => Ok(length == 1 && value == *b"y"),
        Err(Errno::NODATA | Errno::RANGE | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

pub(super) fn set_opaque(dir: &Dir) -> io::Result<()> {
    let directory = readable(dir, Path::new("."))?;
    Ok(fs::fsetxattr(directory, opaque_attribute(), b"y", XattrFlags::empty())?)
}

pub(super) fn set_mode(dir: &Dir, name: &Path, mode: u32) -> io::Result<()> {
    Ok(fs::chmodat(dir, name, Mode::from_raw_mode(mode & 0o7777), AtFlags::empty())?)
}

pub(super) fn set_owner(dir: &Dir, name: &Path, user: Option<u32>, group: u32) -> io::Result<()> {
    if !keeps_owners() {
        return Ok(());
    }
    let owner = (user.map(Uid::from_raw), Some(Gid::from_raw(group)));
    fs::chownat(dir, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| no_such_id(errno, user, group))
}

/// Lets two entries change places at once.
pub(super) fn exchange(dir: &Dir, name: &Path, to: &Dir, to_name: &Path) -> io::Result<()> {
    Ok(fs::renameat_with(dir, name, to, to_name, RenameFlags::EXCHANGE)?)
}

/// The owner first, as changing it clears set-user-ID (chown(2)) and file capabilities; the time last,
/// as nothing after it may touch the entry.
pub(super) fn apply_to_file(file: &File, attributes: &Attributes) -> io::Result<()> {
    // What is so already costs a transaction of the file system all the same when it is set.
    let now = fs::fstat(file)?;
    let owner = (attributes.uid, attributes.gid);
    let is_anothers = keeps_owners() && (now.st_uid, now.st_gid) != owner;
    if is_anothers {
        fs::fchown(file, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))
            .map_err(|errno| no_such_id(errno, Some(owner.0), owner.1))?;
    }
    let mode = attributes.mode & 0o7777;
    if is_anothers || now.st_mode & 0o7777 != mode {
        fs::fchmod(file, Mode::from_raw_mode(mode))?;
    }
    for (name, value) in &attributes.xattrs {
        set_xattr(file, name, value)?;
    }
    Ok(fs::futimens(file, &timestamps(attributes.mtime))?)
}

fn set_xattr(file: &File, name: &[u8], value: &[u8]) -> io::Result<()> {
    if is_overlays(name) {
        return Ok(());
    }
    let Ok(name) = CString::new(name) else { return Err(Errno::INVAL.into()) };
    match fs::fsetxattr(file, name, value, XattrFlags::empty()) {
        // A file system without attributes, or a user without the right: content comes first.
        Err(Errno::OPNOTSUPP) => Ok(()),
        Err(Errno::PERM | Errno::ACCESS) if !privileged() => Ok(()),
        result => Ok(result?),
    }
}

/// Attributes in which overlayfs keeps its own notes. An archive must not forge them.
fn is_overlays(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

pub(super) fn apply(dir: &Dir, name: &Path, kind: Kind, attributes: &Attributes) -> io::Result<()> {
    if matches!(kind, Kind::File | Kind::Directory) {
        return apply_to_file(&File::from(readable(dir, name)?), attributes);
    }
    set_owner(dir, name, Some(attributes.uid), attributes.gid)?;
    if kind != Kind::Symlink {
        set_mode(dir, name, attributes.mode)?;
    }
    Ok(fs::utimensat(dir, name, &timestamps(attributes.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// The extended attributes of a file or directory; none of other kinds, where only a security module
/// keeps any.
pub(super) fn xattrs(dir: &Dir, name: &Path, kind: Kind) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    if !matches!(kind, Kind::File | Kind::Directory) {
        return Ok(Vec::new());
    }
    let file = readable(dir, name)?;
    // 64 KiB is the most that Linux gives, of names or of a value (xattr(7)).
    let mut names = vec![0; 65536];
    let length = match fs::flistxattr(&file, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno.into()),
    };
    let mut found = Vec::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        if is_overlays(name) {
            continue;
        }
        let Ok(c_name) = CString::new(name) else { continue };
        let mut value = vec![0; 65536];
        let length = fs::fgetxattr(&file, &c_name, value.as_mut_slice())?;
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    Ok(found)
}

fn timestamps(mtime: SystemTime) -> Timestamps {
    let time = timespec(mtime);
    Timestamps { last_access: time, last_modification: time }
}

fn timespec(time: SystemTime) -> Timespec {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => Timespec {
            tv_sec: after.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: after.subsec_nanos().into(),
        },
        Err(before) => {
            let before = before.duration();
            let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos() {
                0 => Timespec { tv_sec: -seconds, tv_nsec: 0 },
                nanos => Timespec { tv_sec: -seconds - 1, tv_nsec: (1_000_000_000 - nanos).into() },
            }
        }
    }
}
