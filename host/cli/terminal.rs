//! The user's terminal.

use std::io::{self, IsTerminal as _, Read, Write as _, stderr, stdin, stdout};

use silo_isolation::TerminalSize;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 21;
const DELETE: u8 = 127;

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

/// Whether what is typed is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Echo {
    On,
    Off,
}

/// Reads a line that is typed.
pub(crate) fn read_line(echo: Echo) -> io::Result<String> {
    if echo == Echo::On {
        let mut line = String::new();
        stdin().read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let raw = RawMode::enter();
    let line = read_hidden(&mut stdin().lock());
    drop(raw);
    // The key that ended it moved no cursor.
    let _ = writeln!(stderr().lock());
    line
}

/// Reads keys up to Enter, with the erasing ones doing what they do.
fn read_hidden(keys: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut key = [0];
    // One by one: what follows the line is not this one's to read.
    while keys.read(&mut key)? == 1 {
        match key[0] {
            b'\r' | b'\n' | CTRL_D => break,
            CTRL_C => return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
            CTRL_U => line.clear(),
            BACKSPACE | DELETE => erase_letter(&mut line),
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).map_err(|_| io::Error::other("it is not text"))
}

/// Takes the last letter away, which may be of several bytes (UTF-8).
fn erase_letter(line: &mut Vec<u8>) {
    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

/// Its size, where stdout or stdin is one.
pub(crate) fn size() -> Option<TerminalSize> {
    if !stdout().is_terminal() && !stdin().is_terminal() {
        return None;
    }
    let (columns, rows) = crossterm::terminal::size().ok()?;
    Some(TerminalSize { rows, columns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_line_is_edited_as_a_shown_one() {
        let read = |keys: &[u8]| read_hidden(&mut &*keys);
        assert_eq!(read(b"secret\rmore").unwrap(), "secret");
        assert_eq!(read("wrong\u{15}se\u{e4}\u{7f}cret\n".as_bytes()).unwrap(), "secret");
        assert_eq!(read(b"\x08").unwrap(), "");
        assert_eq!(read(b"a\x03").unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert!(read(b"\xff\r").is_err());
    }
}
