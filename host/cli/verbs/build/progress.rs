//! How far a build is, on stderr.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use silo_builder::Event;

use crate::output;

/// How progress is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// As the terminal can show it, if there is one.
    Auto,
    /// Line by line.
    Plain,
    /// The step that is carried out stays at the bottom.
    Tty,
}

/// How often the terminal's last line changes.
const TICK: Duration = Duration::from_millis(120);
/// Steps that take less don't say how long.
const NOTABLE: Duration = Duration::from_millis(100);
/// The longest text of an instruction on a terminal, in characters.
const LONGEST: usize = 100;

/// Tells what a build does.
pub(super) struct Teller(Option<Mutex<Told>>);

struct Told {
    bar: Option<ProgressBar>,
    /// The step that is carried out.
    step: String,
    /// What a command wrote since its last line end.
    open: Vec<u8>,
}

impl Teller {
    pub(super) fn new(mode: Mode, quiet: bool) -> Self {
        if quiet {
            return Self(None);
        }
        let on_terminal = match mode {
            Mode::Auto => stderr().is_terminal(),
            Mode::Plain => false,
            Mode::Tty => true,
        };
        let bar = on_terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(style());
            bar.enable_steady_tick(TICK);
            bar
        });
        Self(Some(Mutex::new(Told { bar, step: String::new(), open: Vec::new() })))
    }

    pub(super) fn tell(&self, event: Event<'_>) {
        if let Some(told) = &self.0 {
            told.lock().unwrap_or_else(PoisonError::into_inner).tell(event);
        }
    }

    /// Clears the terminal's last line.
    pub(super) fn end(&self) {
        if let Some(told) = &self.0
            && let Some(bar) = &told.lock().unwrap_or_else(PoisonError::into_inner).bar
        {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    // The template is this file's own.
    ProgressStyle::with_template("{spinner} {msg} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Told {
    fn tell(&mut self, event: Event<'_>) {
        match event {
            Event::Started { number, total, text } => {
                self.step = format!("[{number}/{total}] {}", output::visible(text));
                if let Some(bar) = &self.bar {
                    bar.reset_elapsed();
                    bar.set_message(self.step.chars().take(LONGEST).collect::<String>());
                } else {
                    line(&self.step);
                }
            }
            Event::Waiting => self.print("another build carries this out; waiting for it"),
            Event::Output(bytes) => {
                for &byte in bytes {
                    if byte == b'\n' {
                        self.end_line();
                    } else {
                        self.open.push(byte);
                    }
                }
            }
            Event::Finished { cached, took } => {
                if !self.open.is_empty() {
                    self.end_line();
                }
                let how = if cached {
                    Some("cached".to_owned())
                } else {
                    (took >= NOTABLE).then(|| format!("done in {:.1} s", took.as_secs_f64()))
                };
                match (&self.bar, how) {
                    (Some(bar), how) => {
                        bar.println(
                            format!("{} {}", self.step, how.unwrap_or_default()).trim_end(),
                        );
                    }
                    (None, Some(how)) => self.print(&how),
                    (None, None) => {}
                }
            }
            Event::Warning(text) => self.print(&format!("warning: {text}")),
            _ => {}
        }
    }

    fn end_line(&mut self) {
        let text = String::from_utf8_lossy(&self.open).into_owned();
        self.open.clear();
        self.print(&output::visible(text.trim_end_matches('\r')));
    }

    fn print(&self, text: &str) {
        let text = format!("  {text}");
        match &self.bar {
            Some(bar) => bar.println(text.trim_end()),
            None => line(text.trim_end()),
        }
    }
}

fn line(text: &str) {
    // Who does not want to hear it misses nothing.
    let _ = writeln!(stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_template_is_understood() {
        indicatif::ProgressStyle::with_template("{spinner} {msg} {elapsed}").unwrap();
    }
}
