//! What a client is told about the world outside.

use std::{fmt, path::PathBuf};

/// How registries are reached, and by whom. All of it is plain values: this crate reads no
/// environment.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Docker's `config.json`, which need not exist.
    pub credentials: Option<PathBuf>,
    /// A file of certificates to trust instead of the system's.
    pub certificates: Option<PathBuf>,
    /// Whether any certificate will do, and no TLS as well.
    pub insecure: bool,
    /// Proxies on the way.
    pub proxies: Proxies,
    /// Who asks, as a `User-Agent` header says it.
    pub user_agent: String,
}

/// Addresses of proxies, `http://HOST:PORT`. Loopback addresses are reached without any.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For registries that are reached by TLS.
    pub https: Option<String>,
    /// For those that are not.
    pub http: Option<String>,
    /// Hosts that are reached without: names, `.domains`, `*`; separated by commas.
    pub except: Option<String>,
}

/// An address may hold a password.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |proxy: &Option<String>| proxy.as_ref().map(|_| "…");
        f.debug_struct("Proxies")
            .field("https", &shown(&self.https))
            .field("http", &shown(&self.http))
            .field("except", &self.except)
            .finish()
    }
}
