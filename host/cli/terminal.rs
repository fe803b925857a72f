//! The user's terminal.

use std::io::{IsTerminal as _, stdin, stdout};

use silo_isolation::TerminalSize;

/// The terminal hands over every key as it is typed, until this is dropped.
pub(crate) struct RawMode(());

impl RawMode {
    /// Switches the terminal over; `None` where stdin is none, or does not let itself be switched.
    pub(crate) fn enter() -> Option<Self> {
        (stdin().is_terminal() && crossterm::terminal::enable_raw_mode().is_ok())
            .then_some(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // There is no one to tell that the terminal cannot be restored.
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// Its size, where stdout or stdin is one.
pub(crate) fn size() -> Option<TerminalSize> {
    if !stdout().is_terminal() && !stdin().is_terminal() {
        return None;
    }
    let (columns, rows) = crossterm::terminal::size().ok()?;
    Some(TerminalSize { rows, columns })
}
