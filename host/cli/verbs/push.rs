//! `silo push`

use std::process::ExitCode;

use clap::Args;
use silo_layers::{Platform, Reference};

use crate::{
    bars::{Bars, Words},
    context::Context,
    failure::Result,
    hello, output,
    registries::{RegistryArgs, until_signalled},
    values,
};

const WORDS: Words = Words { sent: "pushed", known: "there already" };

/// Send an image to a registry, with all its platforms
///
/// What the registry has already is not sent again.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Don't tell progress
    #[arg(short, long)]
    quiet: bool,
    /// Send the image for this platform alone
    #[arg(long, value_parser = values::platform, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    registry: RegistryArgs,
    /// The image, by name or id
    image: String,
    /// What it is to be called there, if not as here
    #[arg(value_name = "NAME")]
    to: Option<Reference>,
}

impl Push {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let store = context.store()?;
        hello::provide(&store, &self.image)?;
        let to = match self.to {
            Some(to) => to,
            None => self.image.parse().map_err(silo_layers::Error::from)?,
        };
        let client = self.registry.client();
        let bars = Bars::new(WORDS, self.quiet);
        let digest = until_signalled(&client, || {
            let platform = self.platform.as_ref();
            client.push(&store, &self.image, &to, platform, &|progress| bars.tell(&progress))
        })?;
        output::line(&match to.tag() {
            _ if self.quiet => digest.to_string(),
            Some(tag) => format!("{tag}: digest: {digest}"),
            None => format!("digest: {digest}"),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
