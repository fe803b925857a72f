//! Signals that this program gets while a guest runs in the foreground.

use std::sync::mpsc::Receiver;

use silo_isolation::Signal;

/// What happened.
pub(crate) enum Event {
    /// A signal that is meant for the guest.
    Signal(Signal),
    /// The terminal has another size.
    #[cfg_attr(windows, expect(dead_code, reason = "Windows has no signal for it"))]
    Resized,
}

/// Catches signals from now on: before the guest starts, so that none is lost.
#[cfg(unix)]
pub(crate) fn catch() -> std::io::Result<Receiver<Event>> {
    use signal_hook::{consts, iterator::Signals};

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
    let numbers = FORWARDED.iter().map(|(number, _)| *number).chain([consts::SIGWINCH]);
    let mut signals = Signals::new(numbers)?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for number in signals.forever() {
            let name = FORWARDED.iter().find(|(known, _)| *known == number).map(|(_, name)| name);
            let event = match name.map(|name| name.parse()) {
                Some(Ok(signal)) => Event::Signal(signal),
                _ => Event::Resized,
            };
            if sender.send(event).is_err() {
                break;
            }
        }
    })?;
    Ok(receiver)
}

/// Catches Ctrl-C and Ctrl-Break, which stand for SIGINT.
#[cfg(windows)]
pub(crate) fn catch() -> std::io::Result<Receiver<Event>> {
    let (sender, receiver) = std::sync::mpsc::channel();
    ctrlc::set_handler(move || {
        let _ = sender.send(Event::Signal(Signal::INT));
    })
    .map_err(std::io::Error::other)?;
    Ok(receiver)
}
