//! Programs of the configuration that run in the container's namespaces (config.md, "POSIX-platform
//! Hooks").

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::SeekFrom,
    io::Errno,
    process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus},
};

use super::process;
use crate::{
    plan::ProcessPlan,
    protocol::{At as _, Failure, Step},
    runtime::HookPlan,
    sys,
};

/// Runs each in turn, with `input` as its standard input from the start; one that fails ends it. Each is
/// behind the filter of `confined`, as the program will be.
pub(super) fn run(
    hooks: &[HookPlan],
    input: BorrowedFd<'_>,
    confined: Option<&ProcessPlan>,
) -> Result<(), Failure> {
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, input, confined).at(Step::RunHook, index)?;
    }
    Ok(())
}

fn run_one(
    hook: &HookPlan,
    input: BorrowedFd<'_>,
    confined: Option<&ProcessPlan>,
) -> Result<(), Errno> {
    rustix::fs::seek(input, SeekFrom::Start(0))?;
    let Some(pid) = sys::fork_plainly()? else {
        execute(hook, input, confined);
        sys::exit(NOT_RUN);
    };
    let process = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
    let process = rustix::process::pidfd_open(process, PidfdFlags::empty())?;
    if let Some(timeout) = hook.timeout
        && !has_ended(process.as_fd(), timeout)?
    {
        rustix::process::pidfd_send_signal(&process, Signal::KILL)?;
        wait(process.as_fd())?;
        return Err(Errno::TIMEDOUT);
    }
    match wait(process.as_fd())? {
        Ended::Exited(0) => Ok(()),
        Ended::Exited(status) => Err(Errno::from_raw_os_error(EXITED + (status & 0xff))),
        Ended::Killed(signal) => Err(Errno::from_raw_os_error(KILLED + (signal & 0x7f))),
    }
}

/// What a shell exits with where there is no such program.
const NOT_RUN: i32 = 127;

/// How a hook ended has the place of an error's number: the kernel's own are lower.
const EXITED: i32 = 1000;
const KILLED: i32 = 2000;

/// How a hook failed, by the number that [`run`] told.
pub(crate) fn failure(errno: Errno) -> String {
    const SIGSYS: i32 = 31;
    match errno.raw_os_error() {
        KILLED.. if errno.raw_os_error() - KILLED == SIGSYS => {
            "signal: bad system call (SIGSYS)".to_owned()
        }
        number @ KILLED.. => format!("signal: {}", number - KILLED),
        number @ EXITED.. if number - EXITED == NOT_RUN => {
            format!("exit status: {NOT_RUN}: is there such a program in the container?")
        }
        number @ EXITED.. => format!("exit status: {}", number - EXITED),
        _ if errno == Errno::TIMEDOUT => "it took longer than it may".to_owned(),
        _ => std::io::Error::from(errno).to_string(),
    }
}

/// Becomes the hook's program, or returns.
fn execute(hook: &HookPlan, input: BorrowedFd<'_>, confined: Option<&ProcessPlan>) {
    let ready = rustix::stdio::dup2_stdin(input).is_ok()
        && confined.is_none_or(|plan| process::confine(plan).is_ok());
    if ready {
        sys::execute(&hook.program, &hook.args, &hook.env);
    }
}

fn has_ended(process: BorrowedFd<'_>, timeout: Duration) -> Result<bool, Errno> {
    let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
    let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let mut events = [PollFd::from_borrowed_fd(process, PollFlags::IN)];
    Ok(rustix::event::poll(&mut events, Some(&timeout))? > 0)
}

enum Ended {
    Exited(i32),
    Killed(i32),
}

fn wait(process: BorrowedFd<'_>) -> Result<Ended, Errno> {
    let wait = || rustix::process::waitid(WaitId::PidFd(process), WaitIdOptions::EXITED);
    let ended = rustix::io::retry_on_intr(wait)?;
    let killed = ended.as_ref().and_then(WaitIdStatus::terminating_signal);
    let exited = ended.as_ref().and_then(WaitIdStatus::exit_status);
    Ok(killed.map_or(Ended::Exited(exited.unwrap_or(NOT_RUN)), Ended::Killed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_hook_ended_is_read_back_from_its_number() {
        let of = |number| failure(Errno::from_raw_os_error(number));
        assert_eq!(of(EXITED + 3), "exit status: 3");
        assert_eq!(of(KILLED + 9), "signal: 9");
        assert_eq!(of(KILLED + 31), "signal: bad system call (SIGSYS)");
        assert_eq!(failure(Errno::TIMEDOUT), "it took longer than it may");
    }
}
