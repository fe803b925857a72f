//! What names mean to a guest: what they meant when they were looked up first.
//!
//! A guest may reach the addresses of a name that it was allowed. Who answers for the name must not be
//! able to make it mean another machine later, one of the host's network perhaps: so an answer stays
//! for the guest's life.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, ToSocketAddrs as _},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// The most names that a guest may ask for, where it is allowed more than it was given by name.
const MAX_NAMES: usize = 1024;

/// Asks for the addresses of a name, and waits for the answer.
pub(crate) trait Resolve: Send + Sync {
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The host's resolver.
pub(crate) struct HostResolver;

impl Resolve for HostResolver {
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = (name, 0).to_socket_addrs()?;
        let mut addresses = Vec::new();
        for address in found.map(|address| address.ip().to_canonical()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }
}

/// Why a name has no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameError {
    /// The guest may not ask.
    Denied,
    /// It is no name.
    Invalid,
    /// Nobody knows it.
    Unknown,
    /// The guest has asked for too many.
    TooMany,
}

/// Names and their addresses, for ever.
pub(super) struct Names {
    resolver: Box<dyn Resolve>,
    known: Mutex<BTreeMap<String, Vec<IpAddr>>>,
    /// Whether nobody is asked any more.
    sealed: AtomicBool,
}

impl Names {
    pub(super) fn new(resolver: Box<dyn Resolve>, known: BTreeMap<String, Vec<IpAddr>>) -> Self {
        Self { resolver, known: Mutex::new(known), sealed: AtomicBool::new(false) }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Vec<IpAddr>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses of a name in lower case. Asks when it is for the first time.
    pub(super) fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, NameError> {
        if let Some(addresses) = self.known().get(name) {
            return Ok(addresses.clone());
        }
        let mut addresses = self.ask(name)?;
        addresses.retain(|address| is_local_name(name) || is_elsewhere(*address));
        if addresses.is_empty() {
            return Err(NameError::Unknown);
        }
        let mut known = self.known();
        if known.len() >= MAX_NAMES && !known.contains_key(name) {
            return Err(NameError::TooMany);
        }
        // Who asked at the same time and was first is right.
        Ok(known.entry(name.to_owned()).or_insert(addresses).clone())
    }

    /// Has nobody be asked from now on.
    pub(super) fn seal(&self) {
        self.sealed.store(true, Ordering::SeqCst);
    }

    /// Whether a name's answer is here, be it that there is none.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.sealed.load(Ordering::SeqCst) || self.known().contains_key(name)
    }

    /// The addresses of a name at this moment, which nothing depends on.
    pub(super) fn ask(&self, name: &str) -> Result<Vec<IpAddr>, NameError> {
        if self.sealed.load(Ordering::SeqCst) {
            return Err(NameError::Unknown);
        }
        self.resolver.resolve(name).map_err(|_| NameError::Unknown)
    }

    /// Whether `address` is one of a name that `is_meant`.
    pub(super) fn have(&self, address: IpAddr, is_meant: impl Fn(&str) -> bool) -> bool {
        let known = self.known();
        known.iter().any(|(name, addresses)| addresses.contains(&address) && is_meant(name))
    }
}

/// Names that mean the host itself (RFC 6761).
fn is_local_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether an address is not the host's own, nor one by which clouds tell hosts their secrets
/// (169.254.169.254): no name but the host's own may mean these. Who wants one allows the address.
fn is_elsewhere(address: IpAddr) -> bool {
    let own = address.is_loopback() || address.is_unspecified() || address.is_multicast();
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !own && !link_local
}
