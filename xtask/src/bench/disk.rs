//! A disk for stores.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{command, done};

/// Bytes. Only what is written takes space.
const SIZE: u64 = 24 << 30;

/// A new ext4 in a file, mounted until it is dropped: the same for all contenders on every
/// machine. A file system that is in use elsewhere has a past: ext4 without a journal, for one,
/// looks for inodes ten times as long when many files were removed lately.
pub(super) struct Disk {
    pub(super) path: PathBuf,
}

impl Disk {
    pub(super) fn new(work: &Path) -> Result<Self> {
        let (image, path) = (work.join("disk.img"), work.join("disk"));
        fs::File::create(&image)?.set_len(SIZE)?;
        done(command("mkfs.ext4", &["-q"]).arg(&image))?;
        fs::create_dir(&path)?;
        // A new file system's tables would be written meanwhile.
        done(command("mount", &["-o", "loop,noinit_itable"]).arg(&image).arg(&path))?;
        Ok(Self { path })
    }

    /// Waits until everything is on the disk.
    pub(super) fn sync(path: &Path) -> Result<()> {
        done(command("sync", &["--file-system"]).arg(path)).map(drop)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still uses it, if a peer does not end, keeps it until then.
        let _ = command("umount", &["--lazy"]).arg(&self.path).status();
    }
}
