//! `silo stop`

use std::{process::ExitCode, time::Duration};

use clap::Args;
use silo_isolation::Signal;

use crate::{context::Context, failure::Result, output, values};

/// End containers: ask them first, and kill them when they take too long
#[derive(Debug, Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    how: StopArgs,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// How containers are ended.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct StopArgs {
    /// What to send first, by name or number, instead of what the container was created with
    #[arg(short, long)]
    pub(crate) signal: Option<Signal>,
    /// How long to wait before killing; -1 for ever
    #[arg(short = 't', long = "timeout", visible_alias = "time", value_name = "SECONDS")]
    #[arg(default_value = "10", value_parser = values::patience, allow_negative_numbers = true)]
    pub(crate) timeout: Duration,
}

impl Stop {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        output::each(&self.containers, |name| {
            engine.stop(name, self.how.signal, self.how.timeout)?;
            Ok(name.to_owned())
        })
    }
}
