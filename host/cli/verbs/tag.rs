//! `silo tag`

use std::process::ExitCode;

use clap::Args;
use silo_layers::Reference;

use crate::{context::Context, failure::Result, hello};

/// Give an image one more name
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// The image, by name or id
    image: String,
    /// Its new name; an image that had it loses it
    name: Reference,
}

impl Tag {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let store = context.store()?;
        hello::provide(&store, &self.image)?;
        store.tag(&self.image, &self.name)?;
        Ok(ExitCode::SUCCESS)
    }
}
