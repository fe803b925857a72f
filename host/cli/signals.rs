//! Signals that this program gets while a guest runs in the foreground.

use silo_isolation::Signal;

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
