//! The supervisor's own streams, and those between it and its guest.

use std::{
    fs::File,
    io::{self, Read, Write},
    sync::Arc,
    thread,
};

use silo_isolation::{Stdio, Terminal};

use super::guest::Guest;
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
    pub(super) outputs: Vec<(Stream, Box<dyn Read + Send>)>,
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
    let outputs: Vec<(Stream, Box<dyn Read + Send>)> =
        vec![(Stream::Stdout, Box::new(out_ours)), (Stream::Stderr, Box::new(err_ours))];
    Ok((Stdio::Pipes { stdin, stdout, stderr }, Streams { input, outputs }))
}

/// The streams of a terminal. What is typed is shown again by the terminal itself.
pub(super) fn terminal(terminal: Option<&dyn Terminal>, interactive: bool) -> Result<Streams> {
    let terminal = terminal.ok_or_else(|| Error::Supervisor {
        step: "use the container's terminal",
        source: io::Error::from(io::ErrorKind::Unsupported),
    })?;
    let input = if interactive { Some(terminal.input()?) } else { None };
    Ok(Streams { input, outputs: vec![(Stream::Stdout, terminal.output()?)] })
}

/// Starts a thread for each output that gives it to the log and to who is attached.
pub(super) fn copy_all(
    guest: &Arc<Guest>,
    outputs: Vec<(Stream, Box<dyn Read + Send>)>,
) -> Result<()> {
    for (stream, source) in outputs {
        let copier = Arc::clone(guest);
        let thread = spawn("output", move || copy(source, |bytes| copier.output(stream, bytes)))?;
        guest.add_copier(thread);
    }
    Ok(())
}

/// Gives `take` what `source` has until it ends. A terminal's end is an error on Linux.
pub(super) fn copy(mut source: impl Read, mut take: impl FnMut(&[u8])) {
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
