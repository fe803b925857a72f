//! `silo rmi`

use std::process::ExitCode;

use clap::Args;

use crate::{context::Context, failure::Result, output};

/// Remove images: their names, and with the last name the image
#[derive(Debug, Args)]
pub(crate) struct Rmi {
    /// Remove an image that has several names or is in use
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Rmi {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        output::each(&self.images, |name| {
            let removed = engine.remove_image(name, self.force)?;
            let untagged =
                removed.untagged.iter().map(|name| format!("Untagged: {}", name.familiar()));
            let deleted = removed.deleted.iter().map(|digest| format!("Deleted: {digest}"));
            Ok(untagged.chain(deleted).collect::<Vec<_>>().join("\n"))
        })
    }
}
