//! The options of `run` and `create`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use silo_engine::{CreateOptions, Engine, options};
use silo_isolation::{Destination, Limits, Mount, Network, NetworkAccess, Signal};
use silo_layers::{Platform, Reference};
use silo_registry::Selection;

use crate::{
    environment,
    failure::{Failure, Result},
    hello,
    limits::{LimitArgs, ResourceArgs},
    output,
    registries::RegistryArgs,
    security::SecurityArgs,
    values::{self, Publications},
    verbs,
};

/// When to fetch an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    /// When the store does not have it
    Missing,
    /// Not at all
    Never,
    /// Every time
    Always,
}

/// What is asked of a new container.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of a command line")]
pub(crate) struct ContainerArgs {
    /// Name the container; else it gets a name made up of two words
    #[arg(long)]
    name: Option<String>,
    /// Keep stdin open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Remove the container when it has ended
    #[arg(long)]
    pub(crate) rm: bool,
    /// Set an environment variable; without a value it is the host's
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from FILE, one NAME=VALUE a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Work in DIR
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Run as this user, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// The host name that the program sees
    #[arg(short, long, value_name = "NAME")]
    hostname: Option<String>,
    /// Run this program instead of the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Let the program see a file or directory of the host
    #[arg(short, long, value_name = "HOST:GUEST[:ro|rw]")]
    volume: Vec<String>,
    /// Place an empty file system in memory
    #[arg(long, value_name = "GUEST[:size=SIZE,mode=MODE,ro]")]
    tmpfs: Vec<String>,
    /// Keep the program from changing its root file system
    #[arg(long)]
    read_only: bool,
    /// Run the program below an init process, which passes signals on and reaps orphans
    #[arg(long)]
    init: bool,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    resources: ResourceArgs,
    /// End the program after this time, for example 10 (seconds), 1.5s, 2m or 1h
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    timeout: Option<Duration>,
    /// What of the network the program sees
    #[arg(long, visible_alias = "net", default_value = "none", value_parser = values::network, value_name = "none|host")]
    network: Network,
    /// Offer a port of the program's on the host (WebAssembly)
    #[arg(short, long, value_parser = values::publications, value_name = "[[ADDRESS:]PORT:]PORT[/tcp|udp]")]
    publish: Vec<Publications>,
    /// Let the program connect and send to HOST: an address, a CIDR block, a name, *.NAME or * (WebAssembly)
    #[arg(long, value_name = "HOST[:PORT[-PORT]][/tcp|udp]")]
    allow_net: Vec<Destination>,
    /// Give the program the exports of another component of the image as imports (WebAssembly)
    #[arg(long, value_name = "COMPONENT")]
    plug: Vec<String>,
    #[command(flatten)]
    security: SecurityArgs,
    /// Take the image for this platform, for example linux/amd64 or wasi/wasm
    #[arg(long, value_name = "OS/ARCH", value_parser = values::platform)]
    platform: Option<Platform>,
    /// Isolate by this backend instead of the one that the platform asks for
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// When to fetch the image: if it is missing, always or never
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "missing",
        hide_possible_values = true
    )]
    pull: Pull,
    #[command(flatten)]
    registry: RegistryArgs,
    /// Write the container's id to FILE, which must not exist
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    /// What `stop` sends first
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<Signal>,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// The image, then the program to run in it and its arguments, instead of the image's own
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, value_name = "IMAGE [COMMAND] [ARG...]")]
    pub(crate) command: Vec<String>,
}

impl ContainerArgs {
    /// The image as it was named.
    pub(crate) fn image(&self) -> &str {
        // At least one value is required.
        self.command.first().map_or("", String::as_str)
    }

    /// Has the image come that is to be run, as `--pull` says.
    pub(crate) fn provide(&self, engine: &Engine) -> Result<()> {
        let (store, image) = (engine.store(), self.image());
        hello::provide(store, image)?;
        let wanted = match self.pull {
            Pull::Never => false,
            Pull::Always => true,
            Pull::Missing if !store.has(image)? => true,
            Pull::Missing => match &self.platform {
                Some(platform) => store.lacks(image, platform)?,
                None => false,
            },
        };
        if !wanted {
            return Ok(());
        }
        let name: Reference = image.parse().map_err(silo_layers::Error::from)?;
        if self.pull == Pull::Missing {
            output::note(&format!("image {} is not here; pulling it", name.familiar()));
        }
        let platforms = match &self.platform {
            Some(platform) => vec![platform.clone()],
            None => engine.backends().iter().flat_map(|backend| backend.platforms()).collect(),
        };
        verbs::pull::pull(store, &name, &Selection::First(platforms), &self.registry, false)?;
        Ok(())
    }

    /// The engine's view of the options.
    pub(crate) fn options(&self) -> Result<CreateOptions> {
        Ok(CreateOptions {
            image: self.image().to_owned(),
            args: self.command.iter().skip(1).cloned().collect(),
            name: self.name.clone(),
            platform: self.platform.clone(),
            backend: self.backend.clone(),
            entrypoint: self.entrypoint.clone(),
            env: environment::collect(&self.env_file, &self.env)?,
            workdir: self.workdir.clone(),
            user: self.user.clone(),
            hostname: self.hostname.clone(),
            mounts: self.mounts()?,
            readonly: self.read_only,
            network: self.network,
            access: NetworkAccess {
                published: self.publish.iter().flat_map(|ports| ports.0.clone()).collect(),
                allowed: self.allow_net.clone(),
            },
            components: self.plug.clone(),
            limits: Limits { timeout: self.timeout, ..self.resources.limits(self.limits.limits()) },
            sysctls: self.resources.sysctls(),
            init: self.init,
            security: self.security.security()?,
            interactive: self.interactive,
            terminal: self.tty,
            auto_remove: self.rm,
            stop_signal: self.stop_signal,
        })
    }

    fn mounts(&self) -> Result<Vec<Mount>> {
        let mut mounts = Vec::with_capacity(self.volume.len() + self.tmpfs.len());
        if !self.volume.is_empty() {
            let base = std::env::current_dir()
                .map_err(|source| Failure::caused("cannot tell the working directory", source))?;
            for text in &self.volume {
                mounts.push(options::volume(text, &base)?);
            }
        }
        for text in &self.tmpfs {
            mounts.push(options::tmpfs(text)?);
        }
        Ok(mounts)
    }

    /// Writes the id where `--cidfile` says.
    pub(crate) fn note_id(&self, id: &str) -> Result<()> {
        use std::io::Write as _;
        let Some(path) = &self.cidfile else { return Ok(()) };
        std::fs::File::create_new(path)
            .and_then(|mut file| file.write_all(id.as_bytes()))
            .map_err(|source| Failure::caused(format!("cannot write {}", path.display()), source))
    }

    /// Refuses a `--cidfile` that exists, before anything is created.
    pub(crate) fn check_cidfile(&self) -> Result<()> {
        match &self.cidfile {
            Some(path) if path.exists() => {
                Err(Failure::new(format!("the file {} exists", path.display()))
                    .with_hint("its container may still be there; remove it or name another file"))
            }
            _ => Ok(()),
        }
    }
}
