//! `silo kill`

use std::process::ExitCode;

use clap::Args;
use silo_isolation::Signal;

use crate::{context::Context, failure::Result, output};

/// Send containers a signal
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Which, by name or number
    #[arg(short, long, default_value_t = Signal::KILL)]
    signal: Signal,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Kill {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        output::each(&self.containers, |name| {
            engine.kill(name, self.signal)?;
            Ok(name.to_owned())
        })
    }
}
