//! `silo diff`

use std::process::ExitCode;

use clap::Args;

use crate::{context::Context, failure::Result, output};

/// Tell what a container changed in its image: A for added, C for changed, D for deleted
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// Name or id
    container: String,
}

impl Diff {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let changes = context.engine()?.changes(&self.container)?;
        output::print(&output::changes(&changes))?;
        Ok(ExitCode::SUCCESS)
    }
}
