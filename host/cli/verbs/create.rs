//! `silo create`

use std::process::ExitCode;

use clap::Args;

use crate::{container::ContainerArgs, context::Context, failure::Result, output};

/// Create a container without starting it, and print its id
///
/// Options end at the image: what follows belongs to the program.
#[derive(Debug, Args)]
#[command(
    override_usage = "silo create [OPTIONS] IMAGE [COMMAND] [ARG...]",
    disable_help_flag = true
)]
pub(crate) struct Create {
    #[command(flatten)]
    container: ContainerArgs,
}

impl Create {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        self.container.check_cidfile()?;
        let options = self.container.options()?;
        let engine = context.engine()?;
        self.container.provide(&engine)?;
        let container = engine.create(&options)?;
        self.container.note_id(&container.id)?;
        output::line(&container.id)?;
        Ok(ExitCode::SUCCESS)
    }
}
