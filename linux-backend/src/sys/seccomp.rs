//! Installing a seccomp filter.

use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use rustix::io::Errno;

use super::check;

/// One instruction of classic BPF (linux/filter.h), as the kernel reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jump_true: u8,
    pub(crate) jump_false: u8,
    pub(crate) operand: u32,
}

/// Puts `program` over this thread for good (seccomp(2)). Needs `no_new_privs`, or `CAP_SYS_ADMIN`. Gives
/// the listener that one of `flags`, `SECCOMP_FILTER_FLAG_*`, asks for.
pub(crate) fn install(program: &[Instruction], flags: u32) -> Result<Option<OwnedFd>, Errno> {
    let Ok(length) = u16::try_from(program.len()) else { return Err(Errno::INVAL) };
    let filter = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: `Instruction` has the layout of `sock_filter`: the same four fields in the same
    // order under repr(C). The kernel copies `length` of them during the call and writes none.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter)
    };
    let listener = check(result)?;
    if u64::from(flags) & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    let listener = RawFd::try_from(listener).map_err(|_| Errno::BADF)?;
    // SAFETY: with that flag the kernel returns a new descriptor, which nothing else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(listener) }))
}

const _: () = assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>());
