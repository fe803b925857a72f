//! How far a long operation is, on stderr, for people who wait at a terminal.

use std::io::{IsTerminal as _, Write as _, stderr};

use silo_layers::Progress;

use crate::format;

/// Tells progress in one line that is rewritten.
pub(crate) struct Teller {
    visible: bool,
    layer: String,
    size: Option<u64>,
    told: u64,
}

/// How many bytes pass between two tellings.
const STEP: u64 = 4 << 20;

impl Teller {
    /// Tells a person, if there is one and they did not ask for quiet.
    pub(crate) fn new(quiet: bool) -> Self {
        let visible = !quiet && stderr().is_terminal();
        Self { visible, layer: String::new(), size: None, told: 0 }
    }

    /// Takes note of what happened.
    pub(crate) fn tell(&mut self, progress: Progress) {
        match progress {
            Progress::Started { layer, size } => {
                let short = layer.strip_prefix("sha256:").and_then(|hex| hex.get(..12));
                short.unwrap_or(&layer).clone_into(&mut self.layer);
                self.size = size;
                self.told = 0;
                self.show("begins", "\r");
            }
            Progress::Advanced { read } if read >= self.told + STEP => {
                self.told = read;
                let whole = self.size.map(|size| format!(" of {}", format::size(size)));
                self.show(&format!("{}{}", format::size(read), whole.unwrap_or_default()), "\r");
            }
            Progress::Finished { known, .. } => {
                self.show(if known { "was there already" } else { "added" }, "\n");
            }
            _ => {}
        }
    }

    fn show(&self, what: &str, end: &str) {
        if self.visible {
            // Who does not want to hear it misses nothing. The escape clears the rest of the line.
            let _ = write!(stderr().lock(), "layer {}: {what}\x1b[K{end}", self.layer);
        }
    }
}
