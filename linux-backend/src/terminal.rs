//! The supervisor's end of a guest's terminal.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
};

use silo_isolation::{Error, Result, Terminal, TerminalSize};

use crate::{child::window, explain};

/// A pseudo-terminal's master.
#[derive(Debug)]
pub(crate) struct Pty(OwnedFd);

impl Pty {
    pub(crate) const fn new(master: OwnedFd) -> Self {
        Self(master)
    }

    fn file(&self) -> Result<File> {
        let copy = self.0.try_clone().map_err(|source| Error::Step {
            step: "copy the container's terminal".to_owned(),
            source: Box::new(source),
        })?;
        Ok(copy.into())
    }
}

impl Terminal for Pty {
    fn output(&self) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Output(self.file()?)))
    }

    fn input(&self) -> Result<Box<dyn Write + Send>> {
        Ok(Box::new(self.file()?))
    }

    fn resize(&self, size: TerminalSize) -> Result<()> {
        rustix::termios::tcsetwinsize(&self.0, window(size))
            .map_err(explain::step("resize the container's terminal"))
    }
}

/// What the guest prints.
struct Output(File);

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            // The kernel's way to say that the last program has closed its side.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                Ok(0)
            }
            result => result,
        }
    }
}
