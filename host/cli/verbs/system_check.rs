//! `silo system check`

use std::process::ExitCode;

use clap::Args;

use crate::{context::Context, failure::Result, output};

/// Look for what crashes and damage left in the store; the exit code is 1 if any of it stays
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Put right what can be
    #[arg(long)]
    repair: bool,
}

impl Check {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let containers = engine.check(self.repair)?.problems;
        let store = engine.store().check(self.repair)?;
        let problems: Vec<(String, bool)> = containers
            .into_iter()
            .map(|problem| (problem.what, problem.repaired))
            .chain(store.problems.into_iter().map(|one| (one.description, one.repaired)))
            .collect();
        for (what, repaired) in &problems {
            output::line(&format!("{what}{}", if *repaired { " (repaired)" } else { "" }))?;
        }
        if store.unreferenced > 0 {
            let count = store.unreferenced;
            let then = if self.repair { "removed" } else { "--repair removes them" };
            output::line(&format!("{count} blobs and layers that no image needs ({then})"))?;
        }
        if problems.iter().all(|(_, repaired)| *repaired) {
            let (images, blobs) = (store.images, store.blobs);
            output::line(&format!("whole: {images} images, {blobs} blobs"))?;
            return Ok(ExitCode::SUCCESS);
        }
        Ok(ExitCode::FAILURE)
    }
}
