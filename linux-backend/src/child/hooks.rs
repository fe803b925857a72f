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

use crate::{
    protocol::{At as _, Failure, Step},
    runtime::HookPlan,
    sys,
};

/// Runs each in turn, with `input` as its standard input from the start; one that fails ends it.
pub(super) fn run(hooks: &[HookPlan], input: BorrowedFd<'_>) -> Result<(), Failure> {
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, input).at(Step::RunHook, index)?;
    }
    Ok(())
}

fn run_one(hook: &HookPlan, input: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::fs::seek(input, SeekFrom::Start(0))?;
    let Some(pid) = sys::fork_plainly()? else {
        let Err(errno) = execute(hook, input);
        sys::exit(errno.raw_os_error());
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
        Some(0) => Ok(()),
        _ => Err(Errno::CANCELED),
    }
}

fn execute(hook: &HookPlan, input: BorrowedFd<'_>) -> Result<std::convert::Infallible, Errno> {
    rustix::stdio::dup2_stdin(input)?;
    Err(sys::execute(&hook.program, &hook.args, &hook.env))
}

fn has_ended(process: BorrowedFd<'_>, timeout: Duration) -> Result<bool, Errno> {
    let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
    let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let mut events = [PollFd::from_borrowed_fd(process, PollFlags::IN)];
    Ok(rustix::event::poll(&mut events, Some(&timeout))? > 0)
}

fn wait(process: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    let wait = || rustix::process::waitid(WaitId::PidFd(process), WaitIdOptions::EXITED);
    let ended = rustix::io::retry_on_intr(wait)?;
    Ok(ended.as_ref().and_then(WaitIdStatus::exit_status))
}
