//! `silo image squash`

use std::process::ExitCode;

use clap::Args;
use silo_layers::{CommitOptions, Platform, Reference};

use crate::{context::Context, failure::Result, output, values};

/// Make an image with one layer of all that an image's layers show, and print its id
#[derive(Debug, Args)]
pub(crate) struct Squash {
    /// Note this in the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Of the image for this platform
    #[arg(long, value_name = "OS/ARCH", value_parser = values::platform)]
    platform: Option<Platform>,
    /// Name or id
    image: String,
    /// The new image's name, which may be the old one's
    name: Option<Reference>,
}

impl Squash {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let store = context.store()?;
        let image = store.resolve(&self.image, self.platform.as_slice())?;
        let options = CommitOptions {
            name: self.name,
            message: self.message,
            created_by: "silo image squash".to_owned(),
            ..CommitOptions::default()
        };
        let digest = store.squash(&image, &options)?;
        output::line(&store.image(&digest)?.id.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
