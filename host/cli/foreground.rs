//! A guest in the foreground: its output, its input, its signals and its terminal.

use std::{
    io::{IsTerminal as _, Read as _, stderr, stdin, stdout},
    process::ExitCode,
    thread,
    time::Duration,
};

use silo_engine::{Attach, Control, Session};

use crate::{
    failure::{Failure, Result},
    signals::{Event, Signals},
    terminal::{self, RawMode},
};

/// How long signals wait before there is a thread for them: most guests that end soon get none, and
/// all that end soon wait for it.
const PATIENCE: Duration = Duration::from_millis(10);

/// How a client takes part in a guest's run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foreground {
    /// `-i`: what is typed goes to the guest.
    pub(crate) interactive: bool,
    /// `-t`: the guest has a terminal.
    pub(crate) terminal: bool,
    /// Whether nobody will miss the guest when its output has no reader any more.
    pub(crate) ends_with_output: bool,
}

impl Foreground {
    /// Which streams are wanted, and the terminal's size.
    fn attach(self) -> Attach {
        let size = self.terminal.then(terminal::size).flatten();
        Attach { size, ..if self.interactive { Attach::ALL } else { Attach::OUTPUT } }
    }

    /// Starts a guest by `start` and stays with it to its end; its exit code is the command's.
    pub(crate) fn run(self, start: impl FnOnce(Attach) -> Result<Session>) -> Result<ExitCode> {
        if self.terminal && self.interactive && !stdin().is_terminal() {
            return Err(Failure::new("the input device is not a terminal, as -t with -i needs it")
                .with_hint("leave out -t")
                .with_code(1));
        }
        let signals =
            Signals::catch().map_err(|source| Failure::caused("cannot catch signals", source))?;
        let mut session = start(self.attach())?;
        let control = session.control();
        let raw = self.terminal.then(RawMode::enter).flatten();
        let (mut output, mut errors) = (stdout().lock(), stderr().lock());
        let patience = if self.interactive { Duration::ZERO } else { PATIENCE };
        let ended = match session.follow_for(patience, &mut output, &mut errors) {
            Ok(None) => {
                spawn("signals", forward(signals, control.clone(), self.terminal))?;
                if self.interactive {
                    spawn("stdin", type_in(control.clone()))?;
                }
                session.follow(&mut output, &mut errors)
            }
            Ok(Some(exit)) => Ok(exit),
            Err(error) => Err(error),
        };
        drop(raw);
        match ended.map_err(Failure::from) {
            Ok(exit) => Ok(ExitCode::from(exit.code())),
            Err(failure) => {
                if failure.is_broken_pipe() && self.ends_with_output {
                    control.signal(silo_isolation::Signal::KILL)?;
                }
                Err(failure)
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|source| Failure::caused("cannot start a thread", source))
}

/// Hands signals and sizes on. A guest that does not take them is about to end, and the thread
/// that waits for it says how.
fn forward(signals: Signals, control: Control, terminal: bool) -> impl FnOnce() {
    move || {
        for event in signals {
            let _ = match event {
                Event::Signal(signal) => control.signal(signal),
                Event::Resized if terminal => {
                    terminal::size().map_or(Ok(()), |size| control.resize(size))
                }
                Event::Resized => Ok(()),
            };
        }
    }
}

/// Hands on what is typed, until it ends or the guest does.
fn type_in(control: Control) -> impl FnOnce() {
    move || {
        let (mut stdin, mut buffer) = (stdin().lock(), vec![0; 32 << 10]);
        while let Ok(count @ 1..) = stdin.read(&mut buffer) {
            if control.stdin(&buffer[..count]).is_err() {
                return;
            }
        }
        let _ = control.close_stdin();
    }
}
