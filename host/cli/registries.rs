//! How this program comes to registries: what the environment says of them, and signals while
//! something is under way.

use std::{env, path::PathBuf, time::Duration};

use clap::{ArgAction, Args};
use silo_registry::{Client, Error, Proxies, Settings};

use crate::{failure::Result, signals};

/// How long what is stopped may take. To connect to a host that is silent takes longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The option of verbs that come to registries.
#[derive(Clone, Debug, Args)]
pub(crate) struct RegistryArgs {
    /// Insist on TLS with a certificate that is trusted. A registry on this machine may always do
    /// without TLS
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(hide_possible_values = true)]
    tls_verify: bool,
}

impl RegistryArgs {
    /// A client as the environment and the options have it.
    pub(crate) fn client(&self) -> Client {
        client(self.tls_verify)
    }
}

/// A client as the environment has it.
pub(crate) fn client(tls_verify: bool) -> Client {
    Client::new(Settings {
        credentials: docker_config(),
        certificates: set("SSL_CERT_FILE").map(PathBuf::from),
        insecure: !tls_verify,
        proxies: proxies(),
        user_agent: concat!("silo/", env!("CARGO_PKG_VERSION")).to_owned(),
    })
}

/// `$DOCKER_CONFIG/config.json`, by default in `~/.docker`.
fn docker_config() -> Option<PathBuf> {
    let home = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
    let directory = set("DOCKER_CONFIG").map(PathBuf::from);
    let directory = directory.or_else(|| Some(PathBuf::from(set(home)?).join(".docker")))?;
    Some(directory.join("config.json"))
}

/// Variables of either case, as curl and Go know them.
fn proxies() -> Proxies {
    let text = |name: &str| {
        let value = set(&name.to_lowercase()).or_else(|| set(name))?;
        value.into_string().ok()
    };
    let all = text("ALL_PROXY");
    Proxies {
        https: text("HTTPS_PROXY").or_else(|| all.clone()),
        http: text("HTTP_PROXY").or(all),
        except: text("NO_PROXY"),
    }
}

fn set(name: &str) -> Option<std::ffi::OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Does `work`. A signal that would end this program stops the client instead, and is then what the
/// exit code tells.
pub(crate) fn until_signalled<T: Send>(
    client: &Client,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T> {
    match signals::until_signalled(PATIENCE, || client.stop().stop(), work)? {
        (Err(Error::Interrupted), Some(signal)) => Err(signals::interrupted(signal)),
        (result, _) => Ok(result?),
    }
}
