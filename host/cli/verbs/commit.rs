//! `silo commit`

use std::process::ExitCode;

use clap::{ArgAction, Args};
use silo_engine::CommitRequest;
use silo_layers::Reference;

use crate::{
    changes,
    context::Context,
    failure::{Failure, Result},
    output,
};

/// Make an image of what a container changed, and print its id
#[derive(Debug, Args)]
pub(crate) struct Commit {
    /// Who makes it, such as "Ada Lovelace <ada@example.org>"
    #[arg(short, long)]
    author: Option<String>,
    #[arg(short, long, value_name = "LINE", help = changes::HELP)]
    change: Vec<String>,
    /// Note this in the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Let a container that runs stand still meanwhile
    #[arg(short, long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pause: bool,
    /// Leave this path of the container out, with all that is in it
    #[arg(long, value_name = "PATH")]
    exclude: Vec<String>,
    /// Make the files of volumes part of the image
    #[arg(long)]
    include_volumes: bool,
    /// Name or id
    container: String,
    /// The image's name
    name: Option<Reference>,
}

impl Commit {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let config = match self.change.as_slice() {
            [] => None,
            lines => {
                let config = engine.commit_config(&self.container)?;
                Some(changes::apply(config, lines).map_err(Failure::new)?)
            }
        };
        let request = CommitRequest {
            name: self.name,
            author: self.author,
            message: self.message,
            pause: self.pause,
            exclude: self.exclude,
            include_volumes: self.include_volumes,
            config,
        };
        let digest = engine.commit(&self.container, &request)?;
        output::line(&engine.store().image(&digest)?.id.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
