//! `silo restart`

use std::process::ExitCode;

use clap::Args;

use crate::{context::Context, failure::Result, output, verbs::stop::StopArgs};

/// End containers as stop does, and start them again
#[derive(Debug, Args)]
pub(crate) struct Restart {
    #[command(flatten)]
    how: StopArgs,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Restart {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        output::each(&self.containers, |name| {
            engine.restart(name, self.how.signal, self.how.timeout)?;
            Ok(name.to_owned())
        })
    }
}
