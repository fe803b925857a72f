//! `mount_setattr(2)`, and the loopback interface.

use std::{
    fmt,
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::io::Errno;

use super::check;

/// `MOUNT_ATTR_*` of linux/mount.h.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attributes(pub(crate) u32);

impl Attributes {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const READ_ONLY: Self = Self(0x1);
    pub(crate) const NO_SUID: Self = Self(0x2);
    pub(crate) const NO_DEV: Self = Self(0x4);
    pub(crate) const NO_EXEC: Self = Self(0x8);

    pub(crate) const NO_ACCESS_TIME: Self = Self(0x10);
    pub(crate) const STRICT_ACCESS_TIME: Self = Self(0x20);
    /// The bits of which the two before are values; 0 is `relatime`.
    pub(crate) const ACCESS_TIME: Self = Self(0x70);
    pub(crate) const NO_DIRECTORY_ACCESS_TIME: Self = Self(0x80);
    pub(crate) const NO_SYMLINK_FOLLOW: Self = Self(0x20_0000);

    /// Both sets.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are in this set.
    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those of this set that `other` lacks.
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (1, "ro"),
            (2, "nosuid"),
            (4, "nodev"),
            (8, "noexec"),
            (0x10, "noatime"),
            (0x20, "strictatime"),
            (0x80, "nodiratime"),
            (0x20_0000, "nosymfollow"),
        ];
        f.debug_list()
            .entries(names.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, name)| name))
            .finish()
    }
}

/// Adds `attributes` to the mount that `mount` is the root of, and with `recursive` to
/// those below it (`mount_setattr(2)`, Linux 5.12). What is mounted in it later is seen nowhere else: a
/// clone shares that with its original until it is made private (`mount_namespaces(7)`).
pub(crate) fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: Attributes,
    recursive: bool,
) -> Result<(), Errno> {
    set(mount, u64::from(attributes.0), 0, recursive)
}

/// The same, and maps the ids of files as user namespace `users` maps its own: what the disk says
/// is 0 belongs to who is 0 in it. EINVAL where the file system cannot.
pub(crate) fn map_ids(
    mount: BorrowedFd<'_>,
    attributes: Attributes,
    recursive: bool,
    users: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let set_and_map = u64::from(attributes.0) | libc::MOUNT_ATTR_IDMAP;
    set(mount, set_and_map, users.as_raw_fd().unsigned_abs().into(), recursive)
}

fn set(mount: BorrowedFd<'_>, attr_set: u64, userns_fd: u64, recursive: bool) -> Result<(), Errno> {
    let wanted =
        libc::mount_attr { attr_set, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd };
    set_attr(mount, wanted, recursive)
}

/// What changes of a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MountChange {
    pub(crate) set: Attributes,
    pub(crate) clear: Attributes,
    /// `MS_PRIVATE` and its siblings of mount(2), or 0 to leave it.
    pub(crate) propagation: u32,
}

/// Changes the mount that `mount` is the root of, and with `recursive` those below it.
pub(crate) fn change_mount(
    mount: BorrowedFd<'_>,
    change: MountChange,
    recursive: bool,
) -> Result<(), Errno> {
    if change == MountChange::default() {
        return Ok(());
    }
    let wanted = libc::mount_attr {
        attr_set: change.set.0.into(),
        attr_clr: change.clear.0.into(),
        propagation: change.propagation.into(),
        userns_fd: 0,
    };
    set_attr(mount, wanted, recursive)
}

fn set_attr(mount: BorrowedFd<'_>, wanted: libc::mount_attr, recursive: bool) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, and `wanted` outlives the call, which only reads
    // as many bytes of it as its size says.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const wanted,
            size_of::<libc::mount_attr>(),
        )
    };
    check(result).map(drop)
}

/// Brings the loopback interface of this network namespace up, through any socket of it.
pub(crate) fn bring_up(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: an ifreq of zeros is valid: its fields are numbers and arrays of them.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    #[allow(clippy::cast_possible_truncation)] // IFF_UP | IFF_RUNNING is 0x41
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    request.ifr_ifru.ifru_flags = flags;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    check(result.into()).map(drop)
}
