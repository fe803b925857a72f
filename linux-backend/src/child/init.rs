//! The first process of a container whose program runs below it (`--init`).
//!
//! It is this process itself, not a program of its own: it has the guest's identity and filter, and
//! is a copy of the engine's memory, which nobody in the container may see. It therefore stays
//! undumpable: its memory and most of its /proc entries take `CAP_SYS_PTRACE` in the user
//! namespace of the engine (ptrace(2), "Ptrace access mode checking"), which no guest has.
//! What is open to all, its command line and name, is overwritten.

use std::os::fd::BorrowedFd;

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::{WaitOptions, WaitStatus},
};

use super::process::hide;
use crate::{
    plan::Arguments,
    protocol::{At as _, Failure, Step},
    sys,
};

const NAME: &[u8; 4] = b"init";

/// Covers the arguments and the name of this process. The host's /proc must be there, and this
/// process its own.
pub(super) fn cover(arguments: &Arguments) -> Result<(), Failure> {
    let write = || -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let memory = rustix::fs::open(c"/proc/self/mem", flags, Mode::empty())?;
        let mut place = arguments.start;
        while place < arguments.end {
            let room = usize::try_from(arguments.end - place).unwrap_or(usize::MAX);
            let zeros = [0; 64];
            place += rustix::io::pwrite(&memory, &zeros[..room.min(zeros.len())], place)? as u64;
        }
        if arguments.end - arguments.start > NAME.len() as u64 {
            rustix::io::pwrite(&memory, NAME, arguments.start)?;
        }
        rustix::thread::set_name(c"init")
    };
    write().at(Step::BecomeInit, 0)
}

/// Splits in two. Returns in the one that becomes the program; the other never does: it passes
/// signals on to the first, reaps whoever is orphaned in the container, and ends as the first ends.
pub(super) fn divide(terminal: Option<BorrowedFd<'_>>) -> Result<(), Failure> {
    hide().at(Step::BecomeInit, 1)?;
    // None may arrive where nobody would take it, or stop who takes the terminal from the background.
    sys::block_signals();
    if let Some(program) = sys::fork_plainly().at(Step::BecomeInit, 2)? {
        stay(program);
    }
    lead(terminal).at(Step::BecomeInit, 3)?;
    sys::reset_signals();
    Ok(())
}

/// Makes this process's own group the one that the terminal's keys signal: what is sent to a group
/// then does not reach its parent as well.
fn lead(terminal: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    rustix::process::setpgid(None, None)?;
    match terminal {
        Some(terminal) => rustix::termios::tcsetpgrp(terminal, rustix::process::getpid()),
        None => Ok(()),
    }
}

fn stay(program: i32) -> ! {
    // The last end of the program's streams, and of the socket, is to be the program's.
    sys::close_all();
    loop {
        match sys::wait_for_signal() {
            Some(signal) if signal == sys::SIGCHLD => {
                if let Some(code) = reap(program) {
                    sys::exit(code);
                }
            }
            // One that has just ended is about to be reaped.
            Some(signal) => sys::kill(program, signal),
            None => {}
        }
    }
}

/// Takes up all that have ended; the exit code once the program is among them, as a shell's.
fn reap(program: i32) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid.as_raw_nonzero().get() == program {
            code = Some(exit_code(status));
        }
    }
    code
}

fn exit_code(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    }
}
