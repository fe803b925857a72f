//! A process that this one cloned: signalled and waited for by its pidfd, never by its number.

use std::{
    os::fd::AsFd as _,
    sync::{Mutex, PoisonError},
};

use rustix::{
    io::Errno,
    process::{WaitId, WaitIdOptions, WaitIdStatus},
};
use silo_isolation::{Error, Exit, ExitStatus, Result, Signal};

use crate::{
    explain,
    protocol::{Broken, Waiting},
    sys::{self, Cloned},
    terminal::Pty,
};

/// A process of a sandbox. Killed and reaped when dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    process: Cloned,
    /// What it was asked to run, and the `PATH` it was looked up in: for messages.
    program: String,
    path: Option<String>,
    waiting: Mutex<Option<Waiting>>,
    /// Held while waiting: who comes second finds the result.
    status: Mutex<Option<ExitStatus>>,
    terminal: Option<Pty>,
}

impl Guest {
    pub(crate) const fn new(process: Cloned, program: String, path: Option<String>) -> Self {
        Self {
            process,
            program,
            path,
            waiting: Mutex::new(None),
            status: Mutex::new(None),
            terminal: None,
        }
    }

    /// The same, set up and waiting to be let go.
    pub(crate) fn waiting(mut self, waiting: Waiting, terminal: Option<Pty>) -> Self {
        self.waiting = Mutex::new(Some(waiting));
        self.terminal = terminal;
        self
    }

    pub(crate) fn pid(&self) -> i32 {
        self.process.pid
    }

    pub(crate) const fn process(&self) -> &Cloned {
        &self.process
    }

    pub(crate) const fn terminal(&self) -> Option<&Pty> {
        self.terminal.as_ref()
    }

    /// Whether it was let go.
    pub(crate) fn is_started(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Lets it execute its program.
    pub(crate) fn start(&self) -> Result<()> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let waiting = waiting.ok_or(Error::WrongState { state: "started already" })?;
        waiting.go().map_err(|broken| match broken {
            Broken::Failed(failure) => {
                explain::program(&self.program, self.path.as_deref(), failure)
            }
            Broken::Silent => explain::silent(),
            Broken::Socket(errno) => explain::step("let the container start")(errno),
        })
    }

    /// Sends a signal. A process that has ended is success.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        match sys::send_signal(self.process.pidfd.as_fd(), signal.number()) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(explain::step(format!("send {signal} to the container"))(errno)),
        }
    }

    /// Whether it is a process still, though perhaps one that has ended: its number is no other's.
    pub(crate) fn is_there(&self) -> Result<bool> {
        match sys::send_signal(self.process.pidfd.as_fd(), 0) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(errno) => Err(explain::step("look for the container's process")(errno)),
        }
    }

    /// Waits for it to end.
    pub(crate) fn wait(&self) -> Result<ExitStatus> {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = &*status {
            return Ok(status.clone());
        }
        let ended = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(
                WaitId::PidFd(self.process.pidfd.as_fd()),
                WaitIdOptions::EXITED,
            )
        })
        .map_err(explain::step("wait for the container"))?;
        let code = ended.as_ref().and_then(WaitIdStatus::exit_status);
        let signal = ended.as_ref().and_then(WaitIdStatus::terminating_signal);
        let found = match (code, signal) {
            (Some(code), _) => ExitStatus::Exited(code.to_le_bytes()[0]),
            (None, signal) => ExitStatus::Signaled(
                signal
                    .and_then(|number| u8::try_from(number).ok())
                    .and_then(|number| Signal::from_number(number).ok())
                    .unwrap_or(Signal::KILL),
            ),
        };
        *status = Some(found.clone());
        Ok(found)
    }

    /// Ends it.
    pub(crate) fn end(&self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.wait().map(drop)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Whoever can hear of a failure calls `end`.
        let _ = self.end();
    }
}

/// The exit that a status is, when `out_of_memory` tells whether the kernel killed for memory: as in
/// Docker, any process, whatever the first made of that.
pub(crate) fn exit(status: ExitStatus, out_of_memory: impl FnOnce() -> bool) -> Exit {
    Exit { status, oom_killed: out_of_memory() }
}
