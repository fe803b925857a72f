//! A process in the foreground: its signals, and its terminal where it has one.

use std::{
    io::{self, Read as _, Write as _},
    process::ExitCode,
    sync::Arc,
    thread,
};

use silo_isolation::{Exit, ExitStatus};
use silo_linux::runtime::SharedTerminal;

use crate::{
    failure::{Failure, Result},
    signals::{Event, Signals},
    terminal::{self, RawMode},
};

/// Stays with a process until `wait` says that it has ended; its exit code is the command's.
pub(super) fn stay(
    terminal: Option<SharedTerminal>,
    signals: Signals,
    signal: impl Fn(u8) + Send + 'static,
    wait: impl FnOnce() -> Result<ExitStatus>,
) -> Result<ExitCode> {
    let raw = terminal.as_ref().and_then(|_| RawMode::enter());
    let copying = terminal.as_ref().map(copy).transpose()?;
    // Threads that wait for what may never come end with this program.
    thread::spawn(move || forward(signals, signal, terminal.as_ref()));
    let status = wait();
    if let Some(copying) = copying {
        // What could not be printed has no reader.
        let _ = copying.join();
    }
    drop(raw);
    Ok(ExitCode::from(Exit::new(status?).code()))
}

/// Copies between this program's terminal and the process's: gives the thread that copies what the
/// process prints.
fn copy(terminal: &SharedTerminal) -> Result<thread::JoinHandle<()>> {
    let told = |error: silo_isolation::Error| Failure::of(error).with_code(1);
    if let Some(size) = terminal::size() {
        terminal.resize(size).map_err(told)?;
    }
    let (mut output, mut input) =
        (terminal.output().map_err(told)?, terminal.input().map_err(told)?);
    thread::spawn(move || {
        let (mut stdin, mut buffer) = (io::stdin().lock(), [0; 4096]);
        while let Ok(count @ 1..) = stdin.read(&mut buffer) {
            if input.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    });
    Ok(thread::spawn(move || {
        let (mut stdout, mut buffer) = (io::stdout().lock(), vec![0; 32 << 10]);
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            if stdout.write_all(&buffer[..count]).and_then(|()| stdout.flush()).is_err() {
                return;
            }
        }
    }))
}

fn forward(signals: Signals, signal: impl Fn(u8), terminal: Option<&SharedTerminal>) {
    for event in signals {
        match (event, terminal, terminal::size()) {
            (Event::Signal(number), ..) => signal(number.number()),
            (Event::Resized, Some(terminal), Some(size)) => {
                // One that is gone has no size.
                let _ = Arc::clone(terminal).resize(size);
            }
            (Event::Resized, ..) => {}
        }
    }
}
