//! Finding places inside the root, and making those that are missing.
//!
//! Every lookup is confined to the root by the kernel (openat2(2), Linux 5.6): symlinks of the
//! image, absolute or with `..`, lead nowhere else.

use std::{
    ffi::CStr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// What to make where there is nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

impl Kind {
    pub(super) const fn new(directory: bool) -> Self {
        if directory { Self::Directory } else { Self::File }
    }
}

/// As many symlinks as the kernel follows.
const MAX_LINKS: usize = 40;

/// Finds `path` below `root`, as a handle to mount on or to enter.
pub(super) fn open(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            // A rename somewhere else raced with a `..` in the path.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Finds `path` below `root`, and makes it and the directories above it where they are
/// missing. A symlink that leads to nothing has its target made.
pub(super) fn open_or_make(
    root: BorrowedFd<'_>,
    path: &CStr,
    kind: Kind,
) -> Result<OwnedFd, Errno> {
    match open(root, path) {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    let mut text = Text::new(path.to_bytes())?;
    for _ in 0..MAX_LINKS {
        if let Some(made) = walk(root, &mut text, kind)? {
            return Ok(made);
        }
    }
    Err(Errno::LOOP)
}

/// Makes `path` below `root`, in a tree without links, and the directories above it where they are
/// missing.
pub(super) fn make_directories(root: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    let text = Text::new(path.to_bytes())?;
    let mut position = 0;
    while let Some((_, end)) = text.component(position) {
        let directory = Text::new(text.get(0, end))?;
        match rustix::fs::mkdirat(root, directory.as_c_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => position = end,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Goes down `text`, making what is missing. At a symlink to nothing it puts the link's target
/// into `text` and gives `None`: to be walked again.
fn walk(root: BorrowedFd<'_>, text: &mut Text, kind: Kind) -> Result<Option<OwnedFd>, Errno> {
    let mut parent = open(root, c".")?;
    let mut position = 0;
    while let Some((start, end)) = text.component(position) {
        let last = text.component(end).is_none();
        parent = match open(root, Text::new(text.get(0, end))?.as_c_str()) {
            Ok(found) => found,
            Err(Errno::NOENT) => {
                let name = Text::new(text.get(start, end))?;
                let kind = if last { kind } else { Kind::Directory };
                match make(parent.as_fd(), name.as_c_str(), kind) {
                    Ok(made) => made,
                    Err(Errno::EXIST) => {
                        text.follow(parent.as_fd(), &name, start, end)?;
                        return Ok(None);
                    }
                    Err(errno) => return Err(errno),
                }
            }
            Err(errno) => return Err(errno),
        };
        position = end;
    }
    Ok(Some(parent))
}

fn make(parent: BorrowedFd<'_>, name: &CStr, kind: Kind) -> Result<OwnedFd, Errno> {
    match kind {
        Kind::Directory => rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?,
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            drop(rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644))?);
        }
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// A path on the stack.
struct Text {
    bytes: [u8; Self::CAPACITY],
    length: usize,
}

impl Text {
    /// `PATH_MAX`, with its NUL.
    const CAPACITY: usize = 4096;

    fn new(bytes: &[u8]) -> Result<Self, Errno> {
        let mut text = Self { bytes: [0; Self::CAPACITY], length: 0 };
        text.push(bytes)?;
        Ok(text)
    }

    fn push(&mut self, more: &[u8]) -> Result<(), Errno> {
        let end = self.length + more.len();
        // One byte stays for the NUL.
        if end >= Self::CAPACITY {
            return Err(Errno::NAMETOOLONG);
        }
        self.bytes.get_mut(self.length..end).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(more);
        self.length = end;
        Ok(())
    }

    fn get(&self, start: usize, end: usize) -> &[u8] {
        self.bytes.get(start..end.min(self.length)).unwrap_or_default()
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }

    /// Where the first component at or after `position` starts and ends.
    fn component(&self, position: usize) -> Option<(usize, usize)> {
        let rest = self.get(position, self.length);
        let start = position + rest.iter().position(|&byte| byte != b'/')?;
        let name = self.get(start, self.length);
        let length = name.iter().position(|&byte| byte == b'/').unwrap_or(name.len());
        Some((start, start + length))
    }

    /// Replaces the component from `start` to `end`, a symlink, by what it points to.
    fn follow(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &Self,
        start: usize,
        end: usize,
    ) -> Result<(), Errno> {
        let mut target = [0; Self::CAPACITY];
        let length = rustix::fs::readlinkat_raw(parent, name.as_c_str(), &mut target[..])
            .map_err(|errno| if errno == Errno::INVAL { Errno::EXIST } else { errno })?;
        let target = target.get(..length).unwrap_or_default();
        let absolute = target.first() == Some(&b'/');
        let mut followed = Self::new(if absolute { b"" } else { self.get(0, start) })?;
        followed.push(target)?;
        followed.push(self.get(end, self.length))?;
        *self = followed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn made(links: &[(&str, &str)], path: &CStr, kind: Kind) -> tempfile::TempDir {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir(outer.path().join("root")).unwrap();
        for (link, target) in links {
            symlink(target, outer.path().join("root").join(link)).unwrap();
        }
        let root = fs::File::open(outer.path().join("root")).unwrap();
        open_or_make(root.as_fd(), path, kind).unwrap();
        outer
    }

    #[test]
    fn missing_directories_are_made_on_the_way() {
        let outer = made(&[], c"a/b/c", Kind::File);
        assert!(outer.path().join("root/a/b/c").is_file());
    }

    #[test]
    fn a_link_to_nothing_has_its_target_made_inside_the_root() {
        for target in ["/run/x/y", "run/x/y", "../../run/x/y", "/../run/x/y"] {
            let outer = made(&[("link", target)], c"link/z", Kind::Directory);
            assert!(outer.path().join("root/run/x/y/z").is_dir(), "{target}");
            assert!(!outer.path().join("run").exists(), "{target}");
        }
    }

    #[test]
    fn links_to_each_other_end_the_walk() {
        let outer = tempfile::tempdir().unwrap();
        symlink("b", outer.path().join("a")).unwrap();
        symlink("a", outer.path().join("b")).unwrap();
        let root = fs::File::open(outer.path()).unwrap();
        let result = open_or_make(root.as_fd(), c"a", Kind::File);
        assert_eq!(result.unwrap_err(), Errno::LOOP);
    }
}
