//! From an image's config and a user's options to a bundle.

mod users;

use std::{collections::BTreeSet, path::PathBuf};

use oci_spec::image::Config;
use silo_isolation::{
    Bundle, DEFAULT_PATH, Device, Isolation, Mount, Process, Root, Security, Users,
};
use silo_layers::{Image, Platform, Snapshot};

pub(crate) use self::users::Accounts;
pub use self::users::owner;
use crate::{
    CreateOptions, Error, ExecOptions, Result, RunConfig, options::PLUG_LABEL, state::short,
};

/// The bundle of a new container.
pub(crate) fn build(
    image: &Image,
    options: &CreateOptions,
    id: &str,
    snapshot: Snapshot,
    state_dir: PathBuf,
) -> Result<Bundle> {
    let config = image.config.config().clone().unwrap_or_default();
    let hostname = options.hostname.clone().unwrap_or_else(|| short(id).to_owned());
    // Programs without users need none, and to look into many layers takes time.
    let wants_accounts = has_users(&image.platform) || options.user.is_some();
    let accounts = if wants_accounts { Accounts::of(&snapshot)? } else { Accounts::default() };
    let process = process(&image.platform, &config, options, &hostname, &accounts)?;
    let bundle = Bundle {
        id: id.to_owned(),
        platform: image.platform.clone(),
        root: Root {
            snapshot,
            readonly: options.readonly || options.security.isolation == Isolation::Strict,
            volatile: options.auto_remove,
        },
        process,
        hostname,
        mounts: options.mounts.iter().map(mount).collect::<Result<_>>()?,
        network: options.network,
        access: options.access.clone(),
        components: components(&config, options)?,
        security: security(&options.security)?,
        limits: options.limits.clone(),
        sysctls: options.sysctls.clone(),
        init: options.init,
        state_dir,
    };
    validate(&bundle)?;
    Ok(bundle)
}

/// Whether programs made for a platform run as someone.
fn has_users(platform: &Platform) -> bool {
    platform.os == "linux"
}

fn process(
    platform: &Platform,
    config: &Config,
    options: &CreateOptions,
    hostname: &str,
    accounts: &Accounts,
) -> Result<Process> {
    let (entrypoint, cmd) = arguments(config, options);
    let args = [entrypoint, cmd].concat();
    if args.is_empty() {
        return Err(Error::NoCommand { image: options.image.clone() });
    }
    let has_users = has_users(platform);
    let image_user = config.user().as_deref().filter(|_| has_users).unwrap_or_default();
    let login = match options.user.as_deref() {
        Some(user) => Some(accounts.login(user)?),
        // The backend knows whose id is kept.
        None if options.security.users == Some(Users::Kept) => None,
        None if has_users => Some(accounts.login(image_user)?),
        None => None,
    };
    let mut env = Environment::new(config.env().iter().flatten());
    if has_users {
        env.default(&format!("PATH={DEFAULT_PATH}"));
        env.set(&format!("HOSTNAME={hostname}"));
        if options.terminal {
            env.default("TERM=xterm");
        }
    }
    options.env.iter().for_each(|variable| env.set(variable));
    if has_users && let Some(login) = &login {
        env.default(&format!("HOME={}", login.home));
    }
    let cwd = options.workdir.as_deref().or(config.working_dir().as_deref());
    Ok(Process {
        args,
        env: env.into_pairs(),
        cwd: guest_path("-w", cwd.filter(|cwd| !cwd.is_empty()).unwrap_or("/"))?,
        user: login.map(|login| login.user),
        terminal: options.terminal,
    })
}

/// What a container of `image` runs, for an image that is made of it.
pub(crate) fn run_config(image: &Image, options: &CreateOptions) -> RunConfig {
    let config = image.config.config().clone().unwrap_or_default();
    let (entrypoint, cmd) = arguments(&config, options);
    let mut env = Environment::new(config.env().iter().flatten());
    options.env.iter().for_each(|variable| env.set(variable));
    let first = |asked: &Option<String>, own: &Option<String>| {
        asked.clone().or_else(|| own.clone()).unwrap_or_default()
    };
    RunConfig {
        entrypoint,
        cmd,
        env: env.into_pairs(),
        user: first(&options.user, config.user()),
        working_dir: first(&options.workdir, config.working_dir()),
    }
}

/// The components that the program is composed with.
fn components(config: &Config, options: &CreateOptions) -> Result<Vec<String>> {
    let path = |path: &String| guest_path("--plug", path);
    if !options.components.is_empty() {
        return options.components.iter().map(path).collect();
    }
    let label = config.labels().as_ref().and_then(|labels| labels.get(PLUG_LABEL));
    let paths = label.into_iter().flat_map(|label| label.split(','));
    paths
        .map(str::trim)
        .filter(|path| !path.is_empty())
        .map(|path| guest_path(PLUG_LABEL, path))
        .collect()
}

/// Entrypoint and command as Docker merges them.
fn arguments(config: &Config, options: &CreateOptions) -> (Vec<String>, Vec<String>) {
    let entrypoint = match options.entrypoint.as_deref() {
        Some("") => Vec::new(),
        Some(program) => vec![program.to_owned()],
        None => config.entrypoint().clone().unwrap_or_default(),
    };
    let command = if !options.args.is_empty() {
        options.args.clone()
    } else if options.entrypoint.is_some() {
        Vec::new()
    } else {
        config.cmd().clone().unwrap_or_default()
    };
    (entrypoint, command)
}

/// The process of an exec session beside the first of `bundle`.
pub(crate) fn exec_process(bundle: &Bundle, options: &ExecOptions) -> Result<Process> {
    let first = &bundle.process;
    let mut env = Environment::new(&first.env);
    if options.terminal {
        env.default("TERM=xterm");
    }
    options.env.iter().for_each(|variable| env.set(variable));
    let user = match &options.user {
        Some(user) => {
            let login = Accounts::of(&bundle.root.snapshot)?.login(user)?;
            env.set(&format!("HOME={}", login.home));
            Some(login.user)
        }
        None => first.user.clone(),
    };
    let process = Process {
        args: options.args.clone(),
        env: env.into_pairs(),
        cwd: guest_path("-w", options.workdir.as_deref().unwrap_or(&first.cwd))?,
        user,
        terminal: options.terminal,
    };
    validate_process(&process)?;
    Ok(process)
}

/// Variables by name, in the order in which they first came.
struct Environment(Vec<(String, String)>);

impl Environment {
    fn new<'a>(pairs: impl IntoIterator<Item = &'a String>) -> Self {
        let mut environment = Self(Vec::new());
        pairs.into_iter().for_each(|pair| environment.set(pair));
        environment
    }

    /// Sets `NAME=value`; a bare `NAME` removes that variable.
    fn set(&mut self, pair: &str) {
        let Some((name, value)) = pair.split_once('=') else {
            self.0.retain(|(name, _)| name != pair);
            return;
        };
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Sets `NAME=value` unless there is one.
    fn default(&mut self, pair: &str) {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        if !self.0.iter().any(|(known, _)| known == name) {
            self.set(pair);
        }
    }

    fn into_pairs(self) -> Vec<String> {
        self.0.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

fn mount(mount: &Mount) -> Result<Mount> {
    let destination = guest_path("mount", &mount.destination)?;
    if destination == "/" {
        return Err(Error::invalid("mount", &mount.destination, "it would hide the whole image"));
    }
    Ok(Mount { destination, ..mount.clone() })
}

fn security(asked: &Security) -> Result<Security> {
    let device = |device: &Device| {
        let destination = guest_path("--device", &device.destination)?;
        if destination == "/" {
            let why = "a device has a place of its own inside";
            return Err(Error::invalid("--device", &device.destination, why));
        }
        Ok(Device { destination, ..device.clone() })
    };
    let devices = asked.devices.iter().map(device).collect::<Result<_>>()?;
    Ok(Security { devices, ..asked.clone() })
}

/// An absolute path inside the guest, without `.` and `..`.
fn guest_path(what: &'static str, path: &str) -> Result<String> {
    if !path.starts_with('/') {
        return Err(Error::invalid(what, path, "a path inside the container is absolute"));
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

fn validate(bundle: &Bundle) -> Result<()> {
    let hostname = &bundle.hostname;
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    // A Linux host name has at most 64 bytes (sethostname(2)).
    if hostname.is_empty() || hostname.len() > 64 || !hostname.bytes().all(valid) {
        let why = "expected letters, digits, `-` and `.`, at most 64";
        return Err(Error::invalid("--hostname", hostname, why));
    }
    let mut seen = BTreeSet::new();
    for mount in &bundle.mounts {
        no_nul("mount", &mount.destination)?;
        if !seen.insert(&mount.destination) {
            let why = "two mounts have the same place";
            return Err(Error::invalid("mount", &mount.destination, why));
        }
    }
    for device in &bundle.security.devices {
        no_nul("--device", &device.destination)?;
        if !seen.insert(&device.destination) {
            let why = "two devices, or a device and a mount, have the same place";
            return Err(Error::invalid("--device", &device.destination, why));
        }
    }
    bundle.components.iter().try_for_each(|path| no_nul("--plug", path))?;
    let mut ports = BTreeSet::new();
    for publication in &bundle.access.published {
        let host = publication.host();
        if host.port() != 0 && !ports.insert((host, publication.protocol.name())) {
            let why = "this port of the host is published twice";
            return Err(Error::invalid("-p", &publication.to_string(), why));
        }
    }
    for (name, value) in &bundle.sysctls {
        no_nul("--sysctl", name)?;
        no_nul("--sysctl", value)?;
    }
    validate_process(&bundle.process)
}

fn validate_process(process: &Process) -> Result<()> {
    if process.args.first().is_none_or(String::is_empty) {
        return Err(Error::invalid("command", "", "the program's name is empty"));
    }
    process.args.iter().try_for_each(|arg| no_nul("argument", arg))?;
    process.env.iter().try_for_each(|pair| no_nul("environment variable", pair))?;
    if let Some(pair) = process.env.iter().find(|pair| pair.starts_with('=')) {
        return Err(Error::invalid("environment variable", pair, "it has no name"));
    }
    no_nul("-w", &process.cwd)
}

fn no_nul(what: &'static str, text: &str) -> Result<()> {
    if text.contains('\0') {
        return Err(Error::invalid(what, &text.escape_debug().to_string(), "it holds a NUL"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
