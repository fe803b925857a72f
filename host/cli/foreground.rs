//! A guest in the foreground: its output, its input, its signals and its terminal.

use std::{
    io::{IsTerminal as _, Read as _, stderr, stdin, stdout},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::{ArgAction, Args};
use silo_engine::{Attach, Control, Error, Session};

use crate::{
    detach::{self, DetachKeys, Typed},
    failure::{Failure, Result},
    signals::{Event, Signals},
    terminal::{self, RawMode},
};

/// How long signals wait before there is a thread for them: most guests that end soon get none, and
/// all that end soon wait for it.
const PATIENCE: Duration = Duration::from_millis(10);

/// The options of verbs that stay with a container.
#[derive(Clone, Debug, Args)]
pub(crate) struct ForegroundArgs {
    #[command(flatten)]
    pub(crate) detach: DetachArgs,
    /// Hand signals that this command gets on to the program
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(hide_possible_values = true)]
    pub(crate) sig_proxy: bool,
}

/// The option of verbs that can be left.
#[derive(Clone, Debug, Args)]
pub(crate) struct DetachArgs {
    /// Keys that leave the program running, where it has a terminal and reads it
    #[arg(long = "detach-keys", value_name = "KEYS", default_value = detach::DEFAULT)]
    pub(crate) keys: DetachKeys,
}

/// How a client takes part in a guest's run.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of a command line")]
pub(crate) struct Foreground {
    /// `-i`: what is typed goes to the guest.
    pub(crate) interactive: bool,
    /// `-t`: the guest has a terminal.
    pub(crate) terminal: bool,
    /// Whether nobody will miss the guest when its output has no reader any more.
    pub(crate) ends_with_output: bool,
    /// Whether signals are the guest's.
    pub(crate) forwards: bool,
    /// What to do where stdin is no terminal and the guest's is one.
    pub(crate) without_terminal: &'static str,
    /// What leaves a guest that has a terminal.
    pub(crate) keys: DetachKeys,
    /// Whether all is done when the guest is left: it was to be started.
    pub(crate) may_leave: bool,
}

impl Foreground {
    /// Which streams are wanted, and the terminal's size.
    fn attach(&self) -> Attach {
        let size = self.terminal.then(terminal::size).flatten();
        Attach { size, ..if self.interactive { Attach::ALL } else { Attach::OUTPUT } }
    }

    /// Starts a guest by `start` and stays with it to its end; its exit code is the command's.
    pub(crate) fn run(self, start: impl FnOnce(Attach) -> Result<Session>) -> Result<ExitCode> {
        if self.terminal && self.interactive && !stdin().is_terminal() {
            return Err(Failure::new("the input device is not a terminal, as -t with -i needs it")
                .with_hint(self.without_terminal)
                .with_code(1));
        }
        let catch = if self.forwards { Signals::catch } else { Signals::catch_sizes };
        let signals = catch().map_err(|source| Failure::caused("cannot catch signals", source))?;
        let mut session = start(self.attach())?;
        let control = session.control();
        let raw = self.terminal.then(RawMode::enter).flatten();
        let (mut output, mut errors) = (stdout().lock(), stderr().lock());
        let patience = if self.interactive { Duration::ZERO } else { PATIENCE };
        let ended = match session.follow_for(patience, &mut output, &mut errors) {
            Ok(None) => {
                spawn("signals", forward(signals, control.clone(), self.terminal))?;
                if self.interactive {
                    let typed = self.terminal.then(|| Typed::new(self.keys));
                    spawn("stdin", type_in(control.clone(), typed))?;
                }
                session.follow(&mut output, &mut errors)
            }
            Ok(Some(exit)) => Ok(exit),
            Err(error) => Err(error),
        };
        drop(raw);
        match ended {
            Ok(exit) => Ok(ExitCode::from(exit.code())),
            Err(Error::Detached) if self.may_leave => Ok(ExitCode::SUCCESS),
            Err(error) => {
                let failure = Failure::from(error);
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

/// Hands on what is typed, until it ends, the guest does, or keys leave it.
fn type_in(control: Control, mut typed: Option<Typed>) -> impl FnOnce() {
    move || {
        let (mut stdin, mut buffer) = (stdin().lock(), vec![0; 32 << 10]);
        while let Ok(count @ 1..) = stdin.read(&mut buffer) {
            let bytes = &buffer[..count];
            let (sent, leaves) = match &mut typed {
                Some(typed) => {
                    let (bytes, leaves) = typed.pass(bytes);
                    (control.stdin(&bytes), leaves)
                }
                None => (control.stdin(bytes), false),
            };
            if leaves {
                // A guest that has ended is left, too.
                let _ = control.detach();
            }
            if leaves || sent.is_err() {
                return;
            }
        }
        let _ = control.close_stdin();
    }
}
