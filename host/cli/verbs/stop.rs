//! `silo stop`

use std::{process::ExitCode, time::Duration};

use clap::Args;

use crate::{context::Context, failure::Result, output};

/// End containers: ask them first, and kill them when they take too long
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// How long to wait before killing
    #[arg(short = 't', long = "timeout", visible_alias = "time", value_name = "SECONDS")]
    #[arg(default_value_t = 10)]
    timeout: u32,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Stop {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let timeout = Duration::from_secs(self.timeout.into());
        output::each(&self.containers, |name| {
            engine.stop(name, timeout)?;
            Ok(name.to_owned())
        })
    }
}
