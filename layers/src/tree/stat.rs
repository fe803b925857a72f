//! What the host says about entries.

use std::{io, time::SystemTime};

use cap_std::{fs::Metadata, time::SystemTime as CapTime};

/// What the host says about an entry.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// In bytes; of a symbolic link, the length of its target.
    pub size: u64,
    /// How many names the entry has; 1 where the host does not tell.
    pub nlink: u64,
    /// The lower twelve bits of `st_mode`; where the encoding has none, 0755, 0644 or 0777 by kind.
    pub mode: u32,
    /// The owner, 0 where the encoding has none.
    pub uid: u32,
    /// The group, 0 where the encoding has none.
    pub gid: u32,
    /// The last access.
    pub atime: SystemTime,
    /// The last change of content.
    pub mtime: SystemTime,
    /// The last change of content or attributes; on Windows, of content.
    pub ctime: SystemTime,
    /// Device and inode number, where the host has them: equal for hard links of one file.
    pub identity: Option<(u64, u64)>,
    /// The device that a device node stands for, as `st_rdev`.
    pub rdev: u64,
}

impl Stat {
    /// What the host says. Where its modes and owners are not those of the entry, because the encoding
    /// keeps none, the entry has `instead` and is root's.
    pub(crate) fn of(metadata: &Metadata, instead: Option<u32>) -> Self {
        let time =
            |time: io::Result<CapTime>| time.map_or(SystemTime::UNIX_EPOCH, CapTime::into_std);
        let mtime = time(metadata.modified());
        let mut stat = Self {
            size: metadata.len(),
            nlink: 1,
            mode: instead.unwrap_or(if metadata.is_dir() { 0o755 } else { 0o644 }),
            uid: 0,
            gid: 0,
            atime: time(metadata.accessed()),
            mtime,
            ctime: mtime,
            identity: None,
            rdev: 0,
        };
        stat.add_unix(metadata, instead.is_none());
        stat
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "there is nothing of Unix to add")]
    fn add_unix(&mut self, _: &Metadata, _: bool) {}

    #[cfg(unix)]
    fn add_unix(&mut self, metadata: &Metadata, has_owner: bool) {
        use std::time::Duration;

        use cap_std::fs::MetadataExt as _;
        self.nlink = metadata.nlink();
        self.identity = Some((metadata.dev(), metadata.ino()));
        self.rdev = metadata.rdev();
        let (seconds, nanos) = (metadata.ctime(), metadata.ctime_nsec());
        if let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u32::try_from(nanos)) {
            self.ctime = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        }
        if has_owner {
            self.mode = metadata.mode() & 0o7777;
            self.uid = metadata.uid();
            self.gid = metadata.gid();
        }
    }
}
