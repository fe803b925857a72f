//! The supervisor's own streams, and those between it and its guest.

use std::{
    fs::File,
    io::{self, PipeReader, Read, Write},
    thread,
};

use silo_isolation::{Stdio, Terminal};

use crate::{Error, Result, Stream, protocol::CHUNK};

/// Enough for a thread that copies or serialises; pages that are never touched cost nothing.
const STACK: usize = 256 << 10;

/// Starts a thread that nobody waits for, or whose end is known otherwise.
pub(super) fn spawn(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(run)
        .map_err(|source| Error::Supervisor { step: "start a thread of the supervisor", source })
}

/// Leaves the session of the terminal that the starter was in: its Ctrl-C and its end are
/// not meant for the supervisor.
pub(super) fn leave_terminal() {
    #[cfg(unix)]
    {
        // It fails only for the leader of a process group, which has left already.
        let _ = rustix::process::setsid();
    }
}

/// This process's stdin and stdout without the buffers that the standard library has for them.
pub(super) fn own_streams() -> Result<(File, File)> {
    let failed = |source| Error::Supervisor { step: "use the pipes to the starter", source };
    #[cfg(unix)]
    {
        use std::os::fd::AsFd as _;
        let input = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
        let output = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
        Ok((input.into(), output.into()))
    }
    #[cfg(windows)]
    {
        use std::os::windows::io::AsHandle as _;
        let input = io::stdin().as_handle().try_clone_to_owned().map_err(failed)?;
        let output = io::stdout().as_handle().try_clone_to_owned().map_err(failed)?;
        Ok((input.into(), output.into()))
    }
}

/// The supervisor's ends of a guest's streams.
pub(super) struct Streams {
    pub(super) input: Option<Box<dyn Write + Send>>,
    pub(super) outputs: Outputs,
}

/// What a guest writes.
pub(super) enum Outputs {
    Pipes { stdout: PipeReader, stderr: PipeReader },
    Terminal(Box<dyn Read + Send>),
}

/// New pipes: the guest's ends and ours.
pub(super) fn pipes(interactive: bool) -> Result<(Stdio, Streams)> {
    let pipe = || io::pipe().map_err(|source| Error::Supervisor { step: "make a pipe", source });
    let (stdin, input) = if interactive {
        let (theirs, ours) = pipe()?;
        (Some(theirs), Some(Box::new(ours) as Box<dyn Write + Send>))
    } else {
        (None, None)
    };
    let (out_ours, stdout) = pipe()?;
    let (err_ours, stderr) = pipe()?;
    let outputs = Outputs::Pipes { stdout: out_ours, stderr: err_ours };
    Ok((Stdio::Pipes { stdin, stdout, stderr }, Streams { input, outputs }))
}

/// The streams of a terminal. What is typed is shown again by the terminal itself.
pub(super) fn terminal(terminal: Option<&dyn Terminal>, interactive: bool) -> Result<Streams> {
    let terminal = terminal.ok_or_else(|| Error::Supervisor {
        step: "use the container's terminal",
        source: io::Error::from(io::ErrorKind::Unsupported),
    })?;
    let input = if interactive { Some(terminal.input()?) } else { None };
    Ok(Streams { input, outputs: Outputs::Terminal(terminal.output()?) })
}

impl Outputs {
    /// Gives `take` what is written until everyone who could write has ended.
    pub(super) fn copy(self, take: impl Fn(Stream, &[u8]) + Sync) -> Result<()> {
        match self {
            Self::Terminal(output) => {
                copy(output, |bytes| take(Stream::Stdout, bytes));
                Ok(())
            }
            Self::Pipes { stdout, stderr } => copy_both(stdout, stderr, &take)
                .map_err(|source| Error::Supervisor { step: "read what the guest writes", source }),
        }
    }
}

/// One thread does for both: to start another takes as long as a small program runs.
#[cfg(unix)]
fn copy_both(
    stdout: PipeReader,
    stderr: PipeReader,
    take: &impl Fn(Stream, &[u8]),
) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut open = vec![(Stream::Stdout, stdout), (Stream::Stderr, stderr)];
    let mut buffer = vec![0; CHUNK];
    while !open.is_empty() {
        let mut waiting: Vec<_> =
            open.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)).collect();
        match poll(&mut waiting, None) {
            Err(rustix::io::Errno::INTR) => continue,
            ready => ready?,
        };
        let mut ready = waiting.iter().map(|pipe| !pipe.revents().is_empty()).collect::<Vec<_>>();
        open.retain_mut(|(stream, pipe)| {
            if !ready.remove(0) {
                return true;
            }
            match pipe.read(&mut buffer) {
                Ok(0) => false,
                Ok(count) => {
                    take(*stream, &buffer[..count]);
                    true
                }
                Err(error) => error.kind() == io::ErrorKind::Interrupted,
            }
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn copy_both(
    stdout: PipeReader,
    stderr: PipeReader,
    take: &(impl Fn(Stream, &[u8]) + Sync),
) -> io::Result<()> {
    thread::scope(|scope| {
        let copier = thread::Builder::new().name("stderr".to_owned()).stack_size(STACK);
        copier.spawn_scoped(scope, || copy(stderr, |bytes| take(Stream::Stderr, bytes)))?;
        copy(stdout, |bytes| take(Stream::Stdout, bytes));
        Ok(())
    })
}

/// Gives `take` what `source` has until it ends. A terminal's end is an error on Linux.
fn copy(mut source: impl Read, mut take: impl FnMut(&[u8])) {
    let mut buffer = vec![0; CHUNK];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => take(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
