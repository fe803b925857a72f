//! How far pulling and pushing are: a bar for each layer on a terminal, and else a line.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _, stderr},
    sync::{Mutex, PoisonError},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use silo_layers::Digest;
use silo_registry::{Arrival, Progress};

/// What happens to layers, in the words of the verb.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    /// A layer that came or went.
    pub(crate) sent: &'static str,
    /// One that was there.
    pub(crate) known: &'static str,
}

/// Tells progress, on stderr.
pub(crate) struct Bars {
    words: Words,
    kind: Kind,
}

enum Kind {
    Quiet,
    Lines,
    Bars { all: MultiProgress, each: Mutex<BTreeMap<Digest, ProgressBar>> },
}

impl Bars {
    pub(crate) fn new(words: Words, quiet: bool) -> Self {
        let kind = match (quiet, stderr().is_terminal()) {
            (true, _) => Kind::Quiet,
            (false, false) => Kind::Lines,
            (false, true) => Kind::Bars { all: MultiProgress::new(), each: Mutex::default() },
        };
        Self { words, kind }
    }

    /// Takes note of what happened.
    pub(crate) fn tell(&self, progress: &Progress) {
        match (&self.kind, progress) {
            (Kind::Lines, Progress::Finished { blob, how }) => {
                // Who does not want to hear it misses nothing.
                let _ = writeln!(stderr().lock(), "{}: {}", blob.short(), self.word(*how));
            }
            (Kind::Bars { all, each }, progress) => {
                let mut each = each.lock().unwrap_or_else(PoisonError::into_inner);
                self.draw(all, &mut each, progress);
            }
            _ => {}
        }
    }

    fn draw(
        &self,
        all: &MultiProgress,
        each: &mut BTreeMap<Digest, ProgressBar>,
        progress: &Progress,
    ) {
        match progress {
            Progress::Started { blob, size } => {
                let bar = all.add(ProgressBar::new(*size).with_prefix(blob.short()));
                bar.set_style(style("{prefix}: {bar:30} {bytes} of {total_bytes}"));
                each.insert(*blob, bar);
            }
            Progress::Advanced { blob, done } => {
                if let Some(bar) = each.get(blob) {
                    bar.set_position(*done);
                }
            }
            Progress::Finished { blob, how } => {
                if let Some(bar) = each.remove(blob) {
                    bar.set_style(style("{prefix}: {msg}"));
                    bar.finish_with_message(self.word(*how));
                }
            }
            _ => {}
        }
    }

    const fn word(&self, how: Arrival) -> &'static str {
        match how {
            Arrival::Known => self.words.known,
            Arrival::Mounted => "mounted from another repository",
            _ => self.words.sent,
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are this file's own.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_understood() {
        for template in ["{prefix}: {bar:30} {bytes} of {total_bytes}", "{prefix}: {msg}"] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
