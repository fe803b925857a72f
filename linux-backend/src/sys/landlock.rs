//! The three calls of Landlock (landlock(7)).

use std::{
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    ptr,
};

use rustix::io::Errno;

use super::check;

/// `struct landlock_ruleset_attr` of linux/landlock.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Ruleset {
    /// What is refused on files unless a rule permits it: `LANDLOCK_ACCESS_FS_*`.
    pub(crate) files: u64,
    /// What is refused on sockets: `LANDLOCK_ACCESS_NET_*` (version 4).
    pub(crate) network: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: RawFd,
}

/// The version that this kernel has; 0 where it has none or was not told to use it.
pub(crate) fn landlock_version() -> u32 {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag the attribute is null and of no size, by definition.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<Ruleset>(),
            0usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    check(version).ok().and_then(|version| version.try_into().ok()).unwrap_or(0)
}

impl Ruleset {
    /// A set without rules. Kernels that know no sockets take it as long as none are asked for.
    pub(crate) fn create(self) -> Result<OwnedFd, Errno> {
        // SAFETY: the kernel reads one Ruleset, which outlives the call.
        let made = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                &raw const self,
                size_of::<Self>(),
                0u32,
            )
        };
        let made = RawFd::try_from(check(made)?).map_err(|_| Errno::INVAL)?;
        // SAFETY: on success the kernel returns a new descriptor, which nothing else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(made) })
    }
}

/// Permits `allowed` on what is beneath `parent`.
pub(crate) fn permit_beneath(
    ruleset: BorrowedFd<'_>,
    parent: BorrowedFd<'_>,
    allowed: u64,
) -> Result<(), Errno> {
    const LANDLOCK_RULE_PATH_BENEATH: u32 = 1;
    let rule = Beneath { allowed, parent: parent.as_raw_fd() };
    // SAFETY: the kernel reads one path_beneath_attr, which is packed and outlives the call.
    let added = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            LANDLOCK_RULE_PATH_BENEATH,
            &raw const rule,
            0u32,
        )
    };
    check(added).map(drop)
}

/// Puts the rules over this thread for good. Needs `no_new_privs`.
pub(crate) fn restrict_self(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: takes numbers.
    let restricted =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) };
    check(restricted).map(drop)
}
