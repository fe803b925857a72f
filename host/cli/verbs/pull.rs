//! `silo pull`

use std::process::ExitCode;

use clap::Args;
use silo_layers::{Platform, Reference, Store};
use silo_registry::{Pulled, Selection};

use crate::{
    bars::{Bars, Words},
    context::Context,
    failure::Result,
    output,
    registries::{RegistryArgs, until_signalled},
    values,
};

pub(crate) const WORDS: Words = Words { sent: "pulled", known: "here already" };

/// Fetch an image from a registry
///
/// What is here already, by its digest, is not fetched again. The image is there under its name when
/// all of it is.
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Print the image's id alone
    #[arg(short, long)]
    quiet: bool,
    /// Fetch the image for this platform, for example linux/arm64 or wasi/wasm
    #[arg(long, value_parser = values::platform, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Fetch the images for all platforms
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
    #[command(flatten)]
    registry: RegistryArgs,
    #[arg(help = "Its name: [REGISTRY/]REPOSITORY[:TAG|@DIGEST]")]
    #[arg(value_name = "IMAGE")]
    name: Reference,
}

impl Pull {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let store = context.store()?;
        let selection = match self.platform {
            _ if self.all_platforms => Selection::All,
            Some(platform) => Selection::First(vec![platform]),
            None => Selection::First(platforms(context)),
        };
        let pulled = pull(&store, &self.name, &selection, &self.registry, self.quiet)?;
        if self.quiet {
            output::line(&pulled.id.to_string())?;
        } else {
            let name = self.name.familiar();
            output::line(&format!("Digest: {}", pulled.digest))?;
            output::line(&if pulled.known {
                format!("Status: Image is up to date for {name}")
            } else {
                format!("Status: Downloaded newer image for {name}")
            })?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The platforms that images are run for here, the preferred first.
fn platforms(context: &Context) -> Vec<Platform> {
    let backends = context.backends();
    backends.iter().flat_map(|backend| backend.platforms()).collect()
}

/// Fetches an image.
pub(crate) fn pull(
    store: &Store,
    name: &Reference,
    selection: &Selection,
    registry: &RegistryArgs,
    quiet: bool,
) -> Result<Pulled> {
    let client = registry.client();
    let bars = Bars::new(WORDS, quiet);
    until_signalled(&client, || {
        client.pull(store, name, selection, &|progress| bars.tell(&progress))
    })
}
