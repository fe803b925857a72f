//! Signals that this program gets while a guest runs in the foreground, or work is under way.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use silo_isolation::Signal;

use crate::failure::{Failure, Result};

/// What happened.
pub(crate) enum Event {
    /// A signal that is meant for the guest.
    Signal(Signal),
    /// The terminal has another size.
    #[cfg_attr(windows, expect(dead_code, reason = "Windows has no signal for it"))]
    Resized,
}

/// The signals that this process gets from when it was made. As an iterator it waits for the next,
/// for ever.
pub(crate) struct Signals(system::Signals);

impl Signals {
    /// Catches signals from now on: before the guest starts, so that none is lost.
    pub(crate) fn catch() -> std::io::Result<Self> {
        system::Signals::catch(true).map(Self)
    }

    /// Catches only changes of the terminal's size.
    pub(crate) fn catch_sizes() -> std::io::Result<Self> {
        system::Signals::catch(false).map(Self)
    }

    /// Those that have come, without waiting for one.
    pub(crate) fn pending(&mut self) -> impl Iterator<Item = Event> {
        self.0.pending()
    }
}

impl Iterator for Signals {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.0.next()
    }
}

/// How often signals are looked for while something else is under way.
const GLANCE: Duration = Duration::from_millis(50);
/// What would end this program.
const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// Does `work`. A signal that would end this program has `stop` end the work instead, so that nothing
/// is left behind; it is returned with what the work led to. Work that takes longer than `patience` to
/// end is left to the next command.
pub(crate) fn until_signalled<T: Send>(
    patience: Duration,
    stop: impl Fn(),
    work: impl FnOnce() -> T + Send,
) -> Result<(T, Option<Signal>)> {
    let mut signals =
        Signals::catch().map_err(|source| Failure::caused("cannot catch signals", source))?;
    let (done, waiting) = mpsc::channel::<()>();
    let mut ended_by = None;
    let result = thread::scope(|scope| {
        let working = scope.spawn(move || {
            // Dropped at the end, which is what is waited for.
            let _done = done;
            work()
        });
        while waiting.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
            for event in signals.pending() {
                if let Event::Signal(signal) = event
                    && ENDING.contains(&signal)
                {
                    ended_by.get_or_insert((signal, Instant::now()));
                    stop();
                }
            }
            if let Some((signal, since)) = ended_by
                && since.elapsed() > patience
            {
                let failure = interrupted(signal);
                failure.report();
                std::process::exit(failure.code().into())
            }
        }
        working.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    });
    Ok((result, ended_by.map(|(signal, _)| signal)))
}

/// What is told of work that a signal ended.
pub(crate) fn interrupted(signal: Signal) -> Failure {
    Failure::new(format!("interrupted by {signal}")).with_code(128 + signal.number())
}

#[cfg(unix)]
mod system {
    use std::{
        collections::VecDeque,
        io,
        sync::{Arc, atomic::AtomicBool},
    };

    use signal_hook::{consts, flag, iterator};

    use super::Event;

    // By name: the numbers are the host's own.
    const FORWARDED: [(i32, &str); 8] = [
        (consts::SIGHUP, "HUP"),
        (consts::SIGINT, "INT"),
        (consts::SIGQUIT, "QUIT"),
        (consts::SIGTERM, "TERM"),
        (consts::SIGUSR1, "USR1"),
        (consts::SIGUSR2, "USR2"),
        (consts::SIGALRM, "ALRM"),
        (consts::SIGCONT, "CONT"),
    ];

    /// No thread is needed to catch: a process that has but one is copied to supervise.
    pub(super) struct Signals {
        caught: iterator::Signals,
        seen: VecDeque<i32>,
    }

    impl Signals {
        pub(super) fn catch(forwarded: bool) -> io::Result<Self> {
            let forwarded: &[_] = if forwarded { &FORWARDED } else { &[] };
            if forwarded.is_empty() {
                restore_defaults()?;
            }
            let forwarded = forwarded.iter().map(|(number, _)| *number);
            let caught = iterator::Signals::new(forwarded.chain([consts::SIGWINCH]))?;
            Ok(Self { caught, seen: VecDeque::new() })
        }

        pub(super) fn pending(&mut self) -> impl Iterator<Item = Event> {
            self.seen.drain(..).chain(self.caught.pending()).map(event)
        }

        pub(super) fn next(&mut self) -> Option<Event> {
            while self.seen.is_empty() {
                self.seen.extend(self.caught.wait());
            }
            self.seen.pop_front().map(event)
        }
    }

    /// Has signals that were caught before do again what they do to any program.
    fn restore_defaults() -> io::Result<()> {
        let always = Arc::new(AtomicBool::new(true));
        for number in [consts::SIGHUP, consts::SIGINT, consts::SIGQUIT, consts::SIGTERM] {
            flag::register_conditional_default(number, Arc::clone(&always))?;
        }
        Ok(())
    }

    fn event(number: i32) -> Event {
        let name = FORWARDED.iter().find(|(known, _)| *known == number).map(|(_, name)| name);
        match name.map(|name| name.parse()) {
            Some(Ok(signal)) => Event::Signal(signal),
            _ => Event::Resized,
        }
    }
}

/// Ctrl-C and Ctrl-Break, which stand for SIGINT.
#[cfg(windows)]
mod system {
    use std::{
        io,
        sync::{
            Mutex, PoisonError,
            mpsc::{self, Receiver, Sender},
        },
    };

    use silo_isolation::Signal;

    use super::Event;

    /// Who is told now. There is one handler for all of a program's life.
    static TOLD: Mutex<Option<Sender<Event>>> = Mutex::new(None);

    pub(super) struct Signals(Receiver<Event>);

    impl Signals {
        pub(super) fn catch(forwarded: bool) -> io::Result<Self> {
            let (sender, receiver) = mpsc::channel();
            if !forwarded {
                return Ok(Self(receiver));
            }
            let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
            if told.replace(sender).is_some() {
                return Ok(Self(receiver));
            }
            ctrlc::set_handler(|| {
                let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
                // Nobody listens between one and the next.
                let _ = told.as_ref().map(|told| told.send(Event::Signal(Signal::INT)));
            })
            .map_err(io::Error::other)?;
            Ok(Self(receiver))
        }

        pub(super) fn pending(&mut self) -> impl Iterator<Item = Event> {
            self.0.try_iter()
        }

        pub(super) fn next(&mut self) -> Option<Event> {
            self.0.recv().ok()
        }
    }
}
