//! fork(2).

use std::{io, os::fd::OwnedFd, panic};

use rustix::process::Pid;

use super::exit;

/// The descriptors that a copy of this process has.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Copies this process, which has no other thread; the copy runs `child`, which has captured no
/// descriptor, and ends with what that returns. As after execve(2) it has no descriptor but
/// `streams`, and no signal handler.
pub(crate) fn fork(streams: Streams, child: impl FnOnce() -> u8) -> io::Result<Pid> {
    // SAFETY: there is no other thread that could hold a lock. The copy goes on with a memory of
    // its own, and never returns to what was under way here.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // A panic has nowhere to go but the caller's frames, which are not the copy's.
            let status = panic::catch_unwind(panic::AssertUnwindSafe(|| {
                let alone = clear_handlers().and_then(|()| keep_only(streams));
                if alone.is_err() { u8::MAX } else { child() }
            }));
            exit(status.unwrap_or(u8::MAX).into())
        }
        pid => Pid::from_raw(pid).ok_or_else(|| io::ErrorKind::InvalidData.into()),
    }
}

/// Gives signals that run code their default action, and leaves those that are ignored.
fn clear_handlers() -> io::Result<()> {
    for signal in 1..libc::SIGRTMIN() {
        // SAFETY: a sigaction is numbers, null pointers and an optional function, all of which
        // may be zero: SIG_DFL, no flag, none blocked.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: reads into a structure of the right type.
        let known = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
        let runs_code =
            action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != libc::SIG_IGN;
        if known == 0 && runs_code {
            action.sa_sigaction = libc::SIG_DFL;
            // SAFETY: SIG_DFL runs no code of this process.
            if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

/// Makes `streams` the standard ones and closes everything else.
fn keep_only(streams: Streams) -> io::Result<()> {
    rustix::stdio::dup2_stdin(streams.stdin)?;
    rustix::stdio::dup2_stdout(streams.stdout)?;
    rustix::stdio::dup2_stderr(streams.stderr)?;
    // SAFETY: the owners of what is closed are values of frames that the copy never returns to,
    // or were moved into this function and dropped.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
