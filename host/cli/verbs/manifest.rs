//! `silo manifest create`

use std::process::ExitCode;

use clap::Args;
use silo_layers::Reference;

use crate::{context::Context, failure::Result, output};

/// Join images for several platforms under one name, and print the index's digest
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The name of the whole
    name: Reference,
    /// Its images, the preferred first, by name or id
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Create {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let images: Vec<&str> = self.images.iter().map(String::as_str).collect();
        let digest = context.store()?.index(&self.name, &images)?;
        output::line(&digest.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
