//! `silo unpause`

use std::process::ExitCode;

use clap::Args;

use crate::{context::Context, failure::Result, output};

/// Let paused containers go on
#[derive(Debug, Args)]
pub(crate) struct Unpause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Unpause {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        output::each(&self.containers, |name| {
            engine.unpause(name)?;
            Ok(name.to_owned())
        })
    }
}
