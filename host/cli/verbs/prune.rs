//! `silo container prune`, `silo image prune` and `silo system prune`

use std::{
    io::{IsTerminal as _, Write as _, stderr, stdin},
    process::ExitCode,
};

use clap::Args;
use silo_engine::Engine;

use crate::{
    context::Context,
    failure::{Failure, Result},
    format, output,
};

#[derive(Debug, Args)]
struct Consent {
    /// Don't ask
    #[arg(short, long)]
    force: bool,
}

/// Remove the containers that don't run
#[derive(Debug, Args)]
pub(crate) struct PruneContainers {
    #[command(flatten)]
    consent: Consent,
}

/// Remove images that have no name and that no container uses
#[derive(Debug, Args)]
pub(crate) struct PruneImages {
    /// Also those with names
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    consent: Consent,
}

/// Remove the containers that don't run, images that no container uses, and what builds keep
#[derive(Debug, Args)]
pub(crate) struct PruneSystem {
    /// Also images with names
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    consent: Consent,
}

impl Consent {
    /// Whether to go on. Who cannot be asked has to say it before.
    fn asked(&self, what: &str) -> Result<bool> {
        if self.force {
            return Ok(true);
        }
        if !stdin().is_terminal() {
            return Err(
                Failure::new("nobody is there to be asked").with_hint("consent with --force")
            );
        }
        let mut terminal = stderr().lock();
        let question = format!("This removes {what}.\nGo on? [y/N] ");
        let asked = terminal.write_all(question.as_bytes()).and_then(|()| terminal.flush());
        let mut answer = String::new();
        asked
            .and_then(|()| stdin().read_line(&mut answer))
            .map_err(|source| Failure::caused("cannot ask on the terminal", source))?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

impl PruneContainers {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        if self.consent.asked("all containers that don't run")? {
            let freed = containers(&context.engine()?)?;
            total(freed)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl PruneImages {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        if self.consent.asked(images_of(self.all))? {
            let freed = images(&context.engine()?, self.all)?;
            total(freed)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl PruneSystem {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let images_of = images_of(self.all);
        let what = format!("all containers that don't run, {images_of}, and what builds keep");
        if self.consent.asked(&what)? {
            let engine = context.engine()?;
            let freed = containers(&engine)? + images(&engine, self.all)? + builds(&engine)?;
            total(freed)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

const fn images_of(all: bool) -> &'static str {
    if all {
        "all images that no container uses"
    } else {
        "all images without a name that no container uses"
    }
}

fn containers(engine: &Engine) -> Result<u64> {
    let pruned = engine.prune()?;
    if !pruned.ids.is_empty() {
        output::print(&format!("Deleted Containers:\n{}\n\n", pruned.ids.join("\n")))?;
    }
    Ok(pruned.freed)
}

fn images(engine: &Engine, all: bool) -> Result<u64> {
    let removed = engine.prune_images(all)?;
    let untagged = removed.untagged.iter().map(|name| format!("untagged: {}\n", name.familiar()));
    let deleted = removed.deleted.iter().map(|digest| format!("deleted: {digest}\n"));
    let lines: String = untagged.chain(deleted).collect();
    if !lines.is_empty() {
        output::print(&format!("Deleted Images:\n{lines}\n"))?;
    }
    Ok(removed.freed)
}

/// Forgets what builds would take again.
fn builds(engine: &Engine) -> Result<u64> {
    let (steps, freed) = engine.store().prune_steps()?;
    if steps > 0 {
        output::print(&format!("Deleted build cache: {steps} steps\n\n"))?;
    }
    Ok(freed)
}

fn total(freed: u64) -> Result<()> {
    output::line(&format!("Total reclaimed space: {}", format::size(freed)))
}
