//! `silo build`

mod input;
mod progress;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Args;
use silo_builder::{BuildOptions, Built, Error, Event, Host, Stop, Unprovided};
use silo_engine::Engine;
use silo_isolation::Network;
use silo_layers::{Platform, Reference, Store};
use silo_registry::{Client, Selection};

use self::progress::{Mode, Teller};
use crate::{
    bars::Bars,
    context::Context,
    failure::{Failure, Result},
    hello, output,
    registries::RegistryArgs,
    signals, values,
    verbs::pull,
};

/// How long what is stopped may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Build an image from a Dockerfile, and print its id
///
/// A step that would lead to the same as one before is taken from that. The same files and the same
/// Dockerfile lead to the same image.
#[derive(Debug, Args)]
pub(crate) struct Build {
    #[arg(short, long, value_name = "NAME", help = "Name the image: [REGISTRY/]REPOSITORY[:TAG]")]
    tag: Vec<Reference>,
    /// The Dockerfile, - for stdin; by default Dockerfile in the directory
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Build this stage, by name or number, instead of the last
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Give an ARG a value, by default that of the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    arg: Vec<String>,
    /// Add a label to the image
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::pair)]
    label: Vec<(String, String)>,
    /// Carry every step out, whatever was before
    #[arg(long)]
    no_cache: bool,
    /// Fetch images though they are here
    #[arg(long)]
    pull: bool,
    /// Build for these platforms, for example linux/amd64,wasi/wasm; several make an index
    #[arg(long, value_parser = values::platform, value_name = "OS/ARCH", value_delimiter = ',')]
    platform: Vec<Platform>,
    /// What commands see of the network: none or host
    #[arg(long, value_parser = values::network, value_name = "NETWORK", default_value = "none")]
    network: Network,
    /// Print the image's id alone
    #[arg(short, long)]
    quiet: bool,
    /// How progress is told: auto, plain or tty
    #[arg(long, value_name = "HOW", default_value = "auto", hide_possible_values = true)]
    progress: Mode,
    /// Write the image's id to this file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArgs,
    /// The directory that files are copied from; - for none, and the Dockerfile from stdin
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Build {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let input = input::read(&self.directory, self.file.as_deref())?;
        let options = self.options()?;
        let engine = context.engine()?;
        let teller = Teller::new(self.progress, self.quiet);
        let client = self.registry.client();
        let surroundings = Surroundings {
            store: engine.store(),
            client: &client,
            bars: Bars::new(pull::WORDS, self.quiet),
            teller,
        };
        let built = until_signalled(&engine, &input, &options, &surroundings)?;
        if let Some(path) = &self.iidfile {
            std::fs::write(path, built.id.to_string()).map_err(|source| {
                Failure::caused(format!("cannot write {}", path.display()), source)
            })?;
        }
        output::line(&built.id.to_string())?;
        Ok(ExitCode::SUCCESS)
    }

    fn options(&self) -> Result<BuildOptions> {
        let mut arguments = BTreeMap::new();
        for text in &self.arg {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text.as_str(), std::env::var(text).ok()),
            };
            if name.is_empty() {
                return Err(Failure::new(format!("--build-arg `{text}` has no name"))
                    .with_hint("write --build-arg NAME=VALUE"));
            }
            arguments.extend(value.map(|value| (name.to_owned(), value)));
        }
        Ok(BuildOptions {
            names: self.tag.clone(),
            target: self.target.clone(),
            arguments,
            labels: self.label.iter().cloned().collect(),
            no_cache: self.no_cache,
            pull: self.pull,
            platforms: self.platform.clone(),
            network: self.network,
            epoch: epoch()?,
        })
    }
}

/// `SOURCE_DATE_EPOCH` (reproducible-builds.org).
fn epoch() -> Result<Option<SystemTime>> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else { return Ok(None) };
    if text.is_empty() {
        return Ok(None);
    }
    let seconds = text.parse().ok();
    let time = seconds
        .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
        .filter(|time| silo_layers::timestamp(*time).is_ok());
    time.map(Some).ok_or_else(|| {
        Failure::new(format!("SOURCE_DATE_EPOCH is `{text}`, which is no number of seconds"))
    })
}

/// What a build has around it.
struct Surroundings<'a> {
    store: &'a Store,
    client: &'a Client,
    bars: Bars,
    teller: Teller,
}

impl Host for Surroundings<'_> {
    fn provide(&self, name: &str, platforms: &[Platform], pull: bool) -> Result<(), Unprovided> {
        hello::provide(self.store, name).map_err(|error| unprovided(error.hint(), error))?;
        let lacks = || match platforms {
            [platform] => self.store.lacks(name, platform),
            _ => Ok(false),
        };
        let is_here = self.store.has(name).and_then(|has| Ok(has && !lacks()?));
        let is_here = is_here.map_err(|error| unprovided(error.hint(), error))?;
        if is_here && !pull {
            return Ok(());
        }
        let reference: Reference = match name.parse() {
            Ok(reference) => reference,
            Err(error) => return Err(unprovided(None::<String>, error)),
        };
        let selection = Selection::First(platforms.to_vec());
        self.client
            .pull(self.store, &reference, &selection, &|progress| self.bars.tell(&progress))
            .map(drop)
            .map_err(|error| unprovided(error.hint(), error))
    }

    fn tell(&self, event: Event<'_>) {
        self.teller.tell(event);
    }
}

fn unprovided<H: ToString>(
    hint: Option<H>,
    error: impl std::error::Error + Send + Sync + 'static,
) -> Unprovided {
    Unprovided { hint: hint.map(|hint| hint.to_string()), source: Box::new(error) }
}

/// Builds. A signal that would end this program stops the build instead, and is then what the exit code
/// tells.
fn until_signalled(
    engine: &Engine,
    input: &silo_builder::Input,
    options: &BuildOptions,
    surroundings: &Surroundings<'_>,
) -> Result<Built> {
    let stop = Stop::default();
    let stop_all = || {
        stop.stop();
        surroundings.client.stop().stop();
    };
    let build = || silo_builder::build(engine, input, options, surroundings, &stop);
    let ended = signals::until_signalled(PATIENCE, stop_all, build);
    surroundings.teller.end();
    match ended? {
        (Err(Error::Interrupted | Error::Image { .. } | Error::Step { .. }), Some(signal)) => {
            Err(signals::interrupted(signal))
        }
        (result, _) => Ok(result?),
    }
}
