//! `silo update`

use std::process::ExitCode;

use clap::Args;
use silo_isolation::Limits;

use crate::{
    context::Context,
    failure::{Failure, Result},
    limits::LimitArgs,
    output,
};

/// Change what containers may use up, of those that run at once
#[derive(Debug, Args)]
pub(crate) struct Update {
    #[command(flatten)]
    limits: LimitArgs,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Update {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let change = self.limits.limits();
        if change == Limits::default() {
            return Err(Failure::new("no limit is given")
                .with_hint("`silo update --help` lists those that can be changed"));
        }
        let engine = context.engine()?;
        output::each(&self.containers, |name| {
            engine.update(name, &change)?;
            Ok(name.to_owned())
        })
    }
}
