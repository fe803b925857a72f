//! What an init process does: fork(2), signals that are waited for, kill(2).

use std::ptr;

use rustix::io::Errno;

use super::check;

pub(crate) const SIGCHLD: i32 = libc::SIGCHLD;

/// The kernel's set of signals, all of them in it.
static ALL: u64 = u64::MAX;

/// Blocks every signal that can be: it stays pending until it is waited for.
pub(crate) fn block_signals() {
    // SAFETY: the set is 8 bytes, as the last argument says, and only read.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const ALL,
            ptr::null_mut::<u64>(),
            size_of::<u64>(),
        )
    };
}

/// Has the signals that ask a process to end do that: to the first process of a pid namespace the
/// kernel sends none that it does not handle (`pid_namespaces(7)`).
pub(crate) fn end_on_request() {
    extern "C" fn end(signal: libc::c_int) {
        super::exit(128 + signal);
    }
    let handler: extern "C" fn(libc::c_int) = end;
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: a sigaction is numbers, null pointers and an optional function, which may be zero.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as libc::sighandler_t;
        // SAFETY: the handler does nothing but end the process, which may be done at any time.
        unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    }
}

/// Waits for a blocked signal and takes it; `None` when something else woke this process.
pub(crate) fn wait_for_signal() -> Option<i32> {
    // SAFETY: the set is 8 bytes, as the last argument says, and only read; what is told of the
    // signal besides its number, and the time to wait, may be null.
    let number = unsafe {
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            &raw const ALL,
            ptr::null_mut::<libc::siginfo_t>(),
            ptr::null::<libc::timespec>(),
            size_of::<u64>(),
        )
    };
    check(number).ok().and_then(|number| number.try_into().ok())
}

/// Copies this process, which has one thread, by the call that a guest's filter permits; the pid of
/// the copy, and in the copy `None`. As between clone and exec, neither may allocate or lock.
pub(crate) fn fork_plainly() -> Result<Option<i32>, Errno> {
    // SAFETY: without CLONE_VM and with no stack given, the child is a copy of this process that
    // returns here as after fork(2). All arguments but the flags are zero, in whatever order this
    // architecture takes them.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) })?;
    Ok(i32::try_from(pid).ok().filter(|&pid| pid != 0))
}

/// Sends a signal to a child. One that has ended is success.
pub(crate) fn kill(pid: i32, number: i32) {
    // SAFETY: kill takes numbers only.
    unsafe { libc::kill(pid, number) };
}

/// Closes every descriptor of this process, which goes on without any.
pub(crate) fn close_all() {
    // SAFETY: the owners are values of frames that this process never returns to.
    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
}
