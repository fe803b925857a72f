//! The system calls that rustix does not have or marks unsafe, each behind a safe function.
//!
//! This is the one place in the crate with `unsafe`. Nothing here allocates, locks or panics
//! but [`Strings::new`] and [`fork()`], so all else may be called between clone and exec.

mod bpf;
mod fork;
mod init;
mod landlock;
mod lock;
mod mount;
mod priority;
mod process;
mod seccomp;

pub(crate) use bpf::{BpfInstruction, guard_devices};
pub(crate) use fork::{Streams, fork};
pub(crate) use init::{
    SIGCHLD, block_signals, close_all, end_on_request, fork_plainly, kill, wait_for_signal,
};
pub(crate) use landlock::{Ruleset, landlock_version, permit_beneath, restrict_self};
pub(crate) use lock::lock_byte;
pub(crate) use mount::{Attributes, MountChange, bring_up, change_mount, map_ids, set_attributes};
pub(crate) use priority::{
    MemoryPolicy, Scheduling, set_io_priority, set_memory_policy, set_scheduling,
};
pub(crate) use process::{
    Cloned, Strings, Where, acting_on_files_as, adopt, clear_bounding_set, clone, close_copy,
    close_others, execute, execute_descriptor, exit, join_keyring, namespace_kind, reset_signals,
    send_signal, set_close_on_exec_from, set_personality, unshare,
};
pub(crate) use seccomp::{Instruction, install};

use rustix::io::Errno;

/// The result of a call that returns -1 and sets errno.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result >= 0 {
        return Ok(result);
    }
    // SAFETY: errno is this thread's own and always readable. It is read without std's
    // `last_os_error` only to stay free of anything that could allocate.
    let number = unsafe { *libc::__errno_location() };
    Err(Errno::from_raw_os_error(number))
}
