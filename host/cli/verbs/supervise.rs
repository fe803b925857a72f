//! `silo supervise`: the process beside each running container. Not for people.

use std::process::ExitCode;

use clap::Args;

use crate::{context::Context, failure::ENGINE_FAILED};

/// Supervise a container
#[derive(Debug, Args)]
pub(crate) struct Supervise {
    /// The container's whole id
    id: String,
}

impl Supervise {
    pub(crate) fn run(self, context: &Context) -> ExitCode {
        // The one who started it has been told of a failure; there is nobody else.
        let done = silo_engine::supervise(context.root(), &self.id, &context.backends());
        done.map_or(ExitCode::from(ENGINE_FAILED), |()| ExitCode::SUCCESS)
    }
}
