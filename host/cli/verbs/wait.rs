//! `silo wait`

use std::process::ExitCode;

use clap::Args;

use crate::{context::Context, failure::Result, output};

/// Wait for containers to end, and print their exit codes
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Wait {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        output::each(&self.containers, |name| Ok(engine.wait(name)?.to_string()))
    }
}
