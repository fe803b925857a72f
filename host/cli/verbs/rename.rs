//! `silo rename`

use std::process::ExitCode;

use clap::Args;

use crate::{context::Context, failure::Result};

/// Give a container another name
#[derive(Debug, Args)]
pub(crate) struct Rename {
    /// Its name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The new name
    #[arg(value_name = "NAME")]
    name: String,
}

impl Rename {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        context.engine()?.rename(&self.container, &self.name)?;
        Ok(ExitCode::SUCCESS)
    }
}
