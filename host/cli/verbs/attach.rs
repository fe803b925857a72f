//! `silo attach`

use std::process::ExitCode;

use clap::Args;

use crate::{
    context::Context,
    failure::Result,
    foreground::{Foreground, ForegroundArgs},
};

/// Show what a running container prints, let it read what is typed, and exit as it does
///
/// Only what it prints from now on is shown; `silo logs` shows the rest.
#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// Let it read nothing
    #[arg(long)]
    no_stdin: bool,
    #[command(flatten)]
    foreground: ForegroundArgs,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Attach {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let container = engine.attachable(&self.container)?;
        let foreground = Foreground {
            interactive: container.interactive && !self.no_stdin,
            terminal: container.bundle.process.terminal,
            ends_with_output: false,
            forwards: self.foreground.sig_proxy,
            without_terminal: "`--no-stdin` shows what it prints",
            keys: self.foreground.detach.keys,
            may_leave: false,
        };
        let ended = foreground.run(|attach| Ok(engine.attach(&container.id, attach)?));
        ended.or_else(|failure| {
            if !failure.is_lost_supervisor() {
                return Err(failure);
            }
            // It ended just when this came, or was killed; its state says how.
            engine.wait(&container.id).map(ExitCode::from).map_err(|_| failure)
        })
    }
}
