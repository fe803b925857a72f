//! Operations through the kernel's overlayfs, and where the union differs from it on purpose.

use std::{
    collections::BTreeMap,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fd::AsFd as _,
    fs::{
        self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps,
        UTIME_OMIT, XattrFlags,
    },
    io::Errno,
    mount::{self, FsMountFlags, FsOpenFlags, MountAttrFlags},
};
use silo_layers::{
    Snapshot,
    union::{FileKind, OpenOptions},
};

use super::{
    operation::{At, Operation, Outcome, SLOTS, Status},
    tree::{File, Time, Tree, join},
};

type Result<T, E = Errno> = std::result::Result<T, E>;

/// A host that can mount: a file system in memory that is attached nowhere, and gone with the last
/// handle of it.
pub(crate) struct Host {
    memory: OwnedFd,
}

impl Host {
    /// For root of the whole machine, or why not.
    pub(crate) fn privileged() -> Result<Self, String> {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let all = map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
        if !rustix::process::geteuid().is_root() || !all {
            return Err("mounting takes root".to_owned());
        }
        Self::new()
    }

    pub(crate) fn new() -> Result<Self, String> {
        // Modes are compared as they were asked for.
        rustix::process::umask(Mode::empty());
        let memory = || {
            let context = mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
            mount::fsconfig_create(&context)?;
            attach(&context)
        };
        memory().map(|memory| Self { memory }).map_err(|errno| format!("a tmpfs: {errno}"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        Path::new(&format!("/proc/self/fd/{}", self.memory.as_raw_fd())).join(name)
    }
}

/// Without access times, which reading would set on one side or the other.
fn attach(context: &OwnedFd) -> Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOATIME;
    mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

pub(crate) struct KernelView {
    root: OwnedFd,
    open: [Option<OwnedFd>; SLOTS],
}

impl KernelView {
    /// Mounts the snapshot as `linux-backend/src/plan/root.rs` does.
    pub(crate) fn mount(_host: &Host, snapshot: &Snapshot) -> Self {
        let mounted = || {
            let context = mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
            let lowers: Vec<_> =
                snapshot.lowers.iter().map(|lower| lower.path.to_str().unwrap()).collect();
            let options = [
                ("lowerdir", lowers.join(":").as_str()),
                ("upperdir", snapshot.upper.to_str().unwrap()),
                ("workdir", snapshot.work.to_str().unwrap()),
                ("redirect_dir", "nofollow"),
                ("metacopy", "off"),
                ("index", "off"),
            ]
            .map(|(key, value)| mount::fsconfig_set_string(&context, key, value));
            options.into_iter().collect::<Result<()>>()?;
            if !is_privileged() {
                mount::fsconfig_set_flag(&context, "userxattr")?;
            }
            mount::fsconfig_create(&context)?;
            attach(&context)
        };
        let root = mounted().expect("overlayfs");
        Self { root, open: [const { None }; SLOTS] }
    }

    pub(crate) fn close(&mut self) {
        self.open = [const { None }; SLOTS];
    }

    pub(crate) fn run(&mut self, operation: &Operation) -> Outcome {
        self.answer(operation).unwrap_or_else(|errno| Outcome::Failed(name(errno)))
    }

    fn answer(&mut self, operation: &Operation) -> Result<Outcome> {
        use Operation as Op;
        let done = |()| Outcome::Done;
        match operation {
            Op::Resolve { path, follow } => {
                let flags = if *follow { OFlags::empty() } else { OFlags::NOFOLLOW };
                let file = self.resolve(path, flags)?;
                Ok(Outcome::Status(status(&fs::fstat(file)?)))
            }
            Op::Stat(at) => {
                let directory = self.directory(&at.directory)?;
                Ok(Outcome::Status(status(&stat(directory.as_fd(), &at.name)?)))
            }
            Op::ReadDirectory(path) => {
                let mut entries = entries(self.directory(path)?.as_fd())?;
                entries.sort_unstable_by(|one, other| one.0.cmp(&other.0));
                Ok(Outcome::Entries(entries))
            }
            Op::ReadLink(at) => {
                let target = fs::readlinkat(self.directory(&at.directory)?, &at.name, Vec::new())?;
                Ok(Outcome::Target(target.into_string().unwrap()))
            }
            Op::MakeDirectory(at, mode) => {
                let parent = self.directory(&at.directory)?;
                fs::mkdirat(parent, &at.name, Mode::from_raw_mode(*mode)).map(done)
            }
            Op::Symlink(at, target) => {
                fs::symlinkat(target.as_str(), self.directory(&at.directory)?, &at.name).map(done)
            }
            Op::Link(from, to) => {
                let source = self.directory(&from.directory)?;
                // What is to be linked is looked for before the place of its name.
                stat(source.as_fd(), &from.name)?;
                let target = self.directory(&to.directory)?;
                fs::linkat(source, &from.name, target, &to.name, AtFlags::empty()).map(done)
            }
            Op::Unlink(at) => {
                fs::unlinkat(self.directory(&at.directory)?, &at.name, AtFlags::empty()).map(done)
            }
            Op::RemoveDirectory(at) => {
                fs::unlinkat(self.directory(&at.directory)?, &at.name, AtFlags::REMOVEDIR).map(done)
            }
            Op::Rename(from, to) => {
                let source = self.directory(&from.directory)?;
                let target = self.directory(&to.directory)?;
                rename((source.as_fd(), &from.name), (target.as_fd(), &to.name)).map(done)
            }
            Op::SetMode(at, mode) => {
                let parent = self.directory(&at.directory)?;
                if stat(parent.as_fd(), &at.name)?.kind() == FileType::Symlink {
                    return Err(Errno::NOTSUP);
                }
                fs::chmodat(parent, &at.name, Mode::from_raw_mode(*mode), AtFlags::empty())
                    .map(done)
            }
            Op::SetTimes(at, atime, mtime) => {
                let times = timestamps(*atime, *mtime);
                let parent = self.directory(&at.directory)?;
                stat(parent.as_fd(), &at.name)?;
                fs::utimensat(parent, &at.name, &times, AtFlags::SYMLINK_NOFOLLOW).map(done)
            }
            Op::Truncate(at, length) => {
                let options = OpenOptions { write: true, ..OpenOptions::default() };
                fs::ftruncate(self.open(at, options)?, u64::from(*length)).map(done)
            }
            _ => self.answer_open(operation),
        }
    }

    /// The operations on open files.
    fn answer_open(&mut self, operation: &Operation) -> Result<Outcome> {
        use Operation as Op;
        let slot = match operation {
            Op::Open(slot, at, options) => {
                self.open[*slot] = None;
                self.open[*slot] = Some(self.open(at, *options)?);
                return Ok(Outcome::Done);
            }
            Op::Create { slot, at, exclusive, mode } => {
                self.open[*slot] = None;
                self.open[*slot] = Some(self.create(at, *exclusive, *mode)?);
                return Ok(Outcome::Done);
            }
            Op::Close(slot) => {
                self.open[*slot] = None;
                return Ok(Outcome::Done);
            }
            Op::Read { slot, .. }
            | Op::Write { slot, .. }
            | Op::SetLength { slot, .. }
            | Op::Sync(slot)
            | Op::StatOpen(slot)
            | Op::SetTimesOpen { slot, .. } => *slot,
            _ => unreachable!("not on an open file"),
        };
        let Some(file) = &self.open[slot] else { return Ok(Outcome::Nothing) };
        match operation {
            Op::Read { offset, length, .. } => {
                let mut bytes = vec![0; usize::from(*length)];
                let count = rustix::io::pread(file, bytes.as_mut_slice(), u64::from(*offset))?;
                bytes.truncate(count);
                Ok(Outcome::Bytes(bytes))
            }
            Op::Write { offset, content, .. } => {
                let bytes = content.bytes();
                let count = rustix::io::pwrite(file, &bytes, u64::from(*offset))?;
                assert_eq!(count, bytes.len());
                Ok(Outcome::Done)
            }
            Op::SetLength { length, .. } => {
                fs::ftruncate(file, u64::from(*length)).map(|()| Outcome::Done)
            }
            Op::Sync(_) => fs::fsync(file).map(|()| Outcome::Done),
            Op::SetTimesOpen { mtime, .. } => match fs::futimens(file, &timestamps(None, *mtime)) {
                // A removed file of a lower can't be copied up any more. overlayfs finds that out
                // by the file or by the whiteout in its place, in a user namespace always by the
                // latter (Linux 6.18).
                Err(Errno::EXIST) => Err(Errno::NOENT),
                result => result.map(|()| Outcome::Done),
            },
            _ => Ok(Outcome::Status(status(&fs::fstat(file)?))),
        }
    }

    /// What a path of the guest leads to, as a handle that opens nothing.
    fn resolve(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
        loop {
            let within = ResolveFlags::IN_ROOT;
            match fs::openat2(&self.root, path, flags, Mode::empty(), within) {
                // Something moved on the host meanwhile (openat2(2)).
                Err(Errno::AGAIN) => {}
                result => return result,
            }
        }
    }

    fn directory(&self, path: &str) -> Result<OwnedFd> {
        self.resolve(if path.is_empty() { "." } else { path }, OFlags::DIRECTORY)
    }

    /// Opens as the union does, which opens regular files only: a directory is read by its node, and a
    /// pipe or a device would lead out of the guest.
    fn open(&self, at: &At, options: OpenOptions) -> Result<OwnedFd> {
        let parent = self.directory(&at.directory)?;
        match stat(parent.as_fd(), &at.name)?.kind() {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Errno::ISDIR),
            FileType::Symlink => return Err(Errno::LOOP),
            _ => return Err(Errno::NOTSUP),
        }
        let mut flags = match (options.read, options.write || options.append) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            _ => OFlags::RDONLY,
        };
        flags.set(OFlags::APPEND, options.append);
        flags.set(OFlags::TRUNC, options.truncate);
        fs::openat(parent, &at.name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    }

    fn create(&self, at: &At, exclusive: bool, mode: u32) -> Result<OwnedFd> {
        let parent = self.directory(&at.directory)?;
        match stat(parent.as_fd(), &at.name) {
            Ok(_) if exclusive => return Err(Errno::EXIST),
            Ok(_) => return self.open(at, OpenOptions::READ_WRITE),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        fs::openat(parent, &at.name, flags, Mode::from_raw_mode(mode))
    }

    pub(crate) fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        let root = self.directory("").unwrap();
        let status = status(&fs::fstat(&root).unwrap());
        let attributes = Some(attributes(&readable(root.as_fd(), ".").unwrap()));
        tree.insert(String::new(), File { status, content: Vec::new(), attributes });
        add(&mut tree, root.as_fd(), "");
        tree
    }
}

fn add(tree: &mut Tree, directory: BorrowedFd<'_>, path: &str) {
    for (name, kind) in entries(directory).unwrap() {
        let status = status(&stat(directory, &name).unwrap());
        let (mut content, mut found) = (Vec::new(), BTreeMap::new());
        let path = join(path, &name);
        match kind {
            FileKind::File => {
                let file = readable(directory, &name).unwrap();
                found = attributes(&file);
                content = vec![0; usize::try_from(status.size.unwrap()).unwrap()];
                let count = rustix::io::pread(&file, content.as_mut_slice(), 0).unwrap();
                assert_eq!(count, content.len());
            }
            FileKind::Directory => {
                let file = readable(directory, &name).unwrap();
                found = attributes(&file);
                add(tree, file.as_fd(), &path);
            }
            FileKind::Symlink => {
                content = fs::readlinkat(directory, &name, Vec::new()).unwrap().into_bytes();
            }
            _ => {}
        }
        tree.insert(path, File { status, content, attributes: Some(found) });
    }
}

fn readable(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(directory, name, flags, Mode::empty())
}

fn attributes(file: &OwnedFd) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 65536];
    let length = fs::flistxattr(file, names.as_mut_slice()).unwrap();
    let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let name = str::from_utf8(name).unwrap().to_owned();
            let mut value = vec![0; 65536];
            let length = fs::fgetxattr(file, &name, value.as_mut_slice()).unwrap();
            value.truncate(length);
            (name, value)
        })
        .collect()
}

trait Typed {
    fn kind(&self) -> FileType;
}

impl Typed for Stat {
    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.st_mode)
    }
}

fn stat(directory: BorrowedFd<'_>, name: &str) -> Result<Stat> {
    fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// What a directory holds. overlayfs lists the whiteouts of a directory that no other layer has, but
/// finds nothing by their names; the union does not list them.
fn entries(directory: BorrowedFd<'_>) -> Result<Vec<(String, FileKind)>> {
    let directory = readable(directory, ".")?;
    let mut entries = Vec::new();
    for entry in fs::Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_str().unwrap();
        if matches!(name, "." | "..") {
            continue;
        }
        match stat(directory.as_fd(), name) {
            Ok(found) => entries.push((name.to_owned(), kind(found.kind()))),
            Err(Errno::NOENT) if entry.file_type() == FileType::CharacterDevice => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(entries)
}

/// Whether this is the fault of overlayfs in a user namespace, which takes names of one file for two
/// files when one of them was made in place of a whiteout, and then fails (Linux 6.18). Such a
/// rename(2) has nothing to do.
fn is_stale(file: (BorrowedFd<'_>, &str), errno: Errno) -> bool {
    errno == Errno::STALE
        && !is_privileged()
        && stat(file.0, file.1).is_ok_and(|stat| stat.st_nlink > 1)
}

/// rename(2), and where overlayfs refuses to move a directory (`EXDEV`, as `redirect_dir` is off), what
/// mv(1) does then. The union moves such directories itself.
fn rename(from: (BorrowedFd<'_>, &str), to: (BorrowedFd<'_>, &str)) -> Result<()> {
    match fs::renameat(from.0, from.1, to.0, to.1) {
        Err(Errno::XDEV) => {}
        Err(errno) if is_stale(from, errno) => return Ok(()),
        result => return result,
    }
    match fs::unlinkat(to.0, to.1, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let source = readable(from.0, from.1)?;
    let attributes = (fs::fstat(&source)?, attributes(&source));
    fs::mkdirat(to.0, to.1, Mode::RWXU)?;
    let target = readable(to.0, to.1)?;
    for (name, _) in entries(source.as_fd())? {
        rename((source.as_fd(), &name), (target.as_fd(), &name))?;
    }
    fs::unlinkat(from.0, from.1, AtFlags::REMOVEDIR)?;
    set_attributes(&target, &attributes.0, &attributes.1)
}

fn set_attributes(file: &OwnedFd, of: &Stat, attributes: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let owner = (fs::Uid::from_raw(of.st_uid), fs::Gid::from_raw(of.st_gid));
    fs::fchown(file, Some(owner.0), Some(owner.1))?;
    fs::fchmod(file, Mode::from_raw_mode(of.st_mode & 0o7777))?;
    for (name, value) in attributes {
        fs::fsetxattr(file, name, value, XattrFlags::empty())?;
    }
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.try_into().unwrap(),
    };
    fs::futimens(
        file,
        &Timestamps {
            last_access: time(of.st_atime, of.st_atime_nsec),
            last_modification: time(of.st_mtime, of.st_mtime_nsec),
        },
    )
}

fn timestamps(atime: Option<u64>, mtime: Option<u64>) -> Timestamps {
    let time = |seconds: Option<u64>| match seconds {
        Some(seconds) => Timespec { tv_sec: seconds.try_into().unwrap(), tv_nsec: 0 },
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    Timestamps { last_access: time(atime), last_modification: time(mtime) }
}

fn is_privileged() -> bool {
    std::env::var_os(super::INSIDE).is_none()
}

#[allow(clippy::useless_conversion, reason = "the types of stat(2) differ between processors")]
fn status(stat: &Stat) -> Status {
    let kind = kind(stat.kind());
    let sized = matches!(kind, FileKind::File | FileKind::Symlink);
    let time = |seconds: i64, nanoseconds: u64| {
        Time::new(seconds.try_into().unwrap(), nanoseconds.try_into().unwrap())
    };
    Status {
        kind,
        size: sized.then(|| stat.st_size.try_into().unwrap()),
        nlink: (kind != FileKind::Directory).then_some(stat.st_nlink.into()),
        mode: stat.st_mode & 0o7777,
        owner: (stat.st_uid, stat.st_gid),
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn kind(kind: FileType) -> FileKind {
    match kind {
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice => FileKind::CharDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        _ => FileKind::File,
    }
}

fn name(errno: Errno) -> String {
    match errno {
        Errno::NOENT => "ENOENT",
        Errno::EXIST => "EEXIST",
        Errno::NOTDIR => "ENOTDIR",
        Errno::ISDIR => "EISDIR",
        Errno::NOTEMPTY => "ENOTEMPTY",
        Errno::LOOP => "ELOOP",
        Errno::NAMETOOLONG => "ENAMETOOLONG",
        Errno::ROFS => "EROFS",
        Errno::XDEV => "EXDEV",
        Errno::ACCESS => "EACCES",
        Errno::PERM => "EPERM",
        Errno::INVAL => "EINVAL",
        Errno::NOSPC => "ENOSPC",
        Errno::BADF => "EBADF",
        Errno::BUSY => "EBUSY",
        Errno::FBIG => "EFBIG",
        Errno::NOTSUP => "ENOTSUP",
        other => return other.to_string(),
    }
    .to_owned()
}
