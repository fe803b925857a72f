//! Locks on parts of files.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;

use super::check;

/// Locks one byte of a file for this open file description (`F_OFD_SETLK`, fcntl(2), Linux 3.15):
/// until the last descriptor of it is closed. EAGAIN where it is another's.
#[allow(clippy::cast_possible_truncation)] // both constants are below 4
pub(crate) fn lock_byte(file: BorrowedFd<'_>, position: i64) -> Result<(), Errno> {
    // SAFETY: a flock is numbers, for which zero is a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as _;
    lock.l_whence = libc::SEEK_SET as _;
    lock.l_start = position;
    lock.l_len = 1;
    // SAFETY: the kernel reads one flock, which outlives the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    check(result.into()).map(drop)
}
