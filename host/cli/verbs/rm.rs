//! `silo rm`

use std::process::ExitCode;

use clap::Args;

use crate::{context::Context, failure::Result, output};

/// Remove containers
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Kill those that run, and remove those whose records are damaged
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Rm {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        output::each(&self.containers, |name| match engine.remove(name, self.force) {
            // As Docker: what is not there is as good as removed by force.
            Err(silo_engine::Error::NotFound(_)) if self.force => Ok(String::new()),
            done => done.map(|()| name.to_owned()).map_err(Into::into),
        })
    }
}
