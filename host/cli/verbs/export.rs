//! `silo export`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{context::Context, failure::Result, sink};

/// Write all files of a container as a tar archive
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name or id
    container: String,
}

impl Export {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        sink::write(self.output.as_deref(), |output| Ok(engine.export(&self.container, output)?))?;
        Ok(ExitCode::SUCCESS)
    }
}
