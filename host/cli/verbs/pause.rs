//! `silo pause`

use std::process::ExitCode;

use clap::Args;

use crate::{context::Context, failure::Result, output};

/// Let containers stand still: no program of theirs runs until they are unpaused
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Pause {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        output::each(&self.containers, |name| {
            engine.pause(name)?;
            Ok(name.to_owned())
        })
    }
}
