//! What a guest may use of the host's network, and its use.
//!
//! A guest has no network namespace: its ports and peers are what the bundle says. All that it needs of
//! the host is known before it starts ([`Needs`]), so that the process that runs it can give up everything
//! else. A [`Grant`] has the ports that it offers, bound, and what the names mean that it may ask for.
//!
//! - `policy`: whom it may reach, and by which names.
//! - `names`: what names mean, which stays.
//! - `ports`: the host's ports that lead to it.
//! - `sockets`: `wasi:sockets` by these rules.

mod names;
mod policy;
mod ports;
pub(crate) mod sockets;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{ClientConfig, RootCertStore};
use silo_isolation::{Bundle, Network, NetworkAccess, Peer, Protocol, Publication, Result};

pub(crate) use names::NameError;
pub(crate) use policy::Policy;
use ports::Ports;
pub(crate) use ports::{Claim, Taken};

/// The most sockets that a guest has at a time, those included that it accepted.
pub(crate) const MAX_SOCKETS: usize = 1024;

/// What a guest needs of the host's network while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// To wait for connections and datagrams at sockets that exist before it starts.
    pub(crate) ports: bool,
    /// To make sockets.
    pub(crate) sockets: bool,
    /// To ask the host what names mean.
    pub(crate) lookups: bool,
}

impl Needs {
    /// What a bundle asks for.
    pub(crate) fn of(network: Network, access: &NetworkAccess) -> Self {
        let is_open = network == Network::Host && access.allowed.is_empty();
        let is_pattern = |peer: &Peer| matches!(peer, Peer::Any | Peer::Below(_));
        Self {
            ports: !access.published.is_empty(),
            sockets: network == Network::Host || !access.allowed.is_empty(),
            lookups: is_open || access.allowed.iter().any(|to| is_pattern(&to.peer)),
        }
    }

    /// Whether it needs nothing.
    pub(crate) const fn is_nothing(self) -> bool {
        !self.ports && !self.sockets && !self.lookups
    }
}

/// A guest's network.
pub(crate) struct Net {
    pub(crate) needs: Needs,
    pub(crate) policy: Policy,
    ports: Ports,
    /// How many sockets there are.
    sockets: AtomicUsize,
    trust: OnceLock<Option<Arc<ClientConfig>>>,
}

fn trust() -> Option<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Some(Arc::new(config.ok()?.with_root_certificates(roots).with_no_client_auth()))
}

/// What the host gives a guest before it starts. It can be sent to another process: its sockets as
/// descriptors, the rest as plain data.
pub(crate) struct Grant {
    /// Each published port, bound and not listening.
    pub(crate) ports: Vec<(Publication, socket2::Socket)>,
    /// What the names mean that the guest is allowed.
    pub(crate) names: BTreeMap<String, Vec<IpAddr>>,
}

impl Grant {
    /// Binds the ports that the bundle publishes, and looks up the names that it allows.
    pub(crate) fn open(bundle: &Bundle) -> Result<Self> {
        let ports = ports::bind(&bundle.access.published)?;
        Ok(Self { ports, names: policy::look_up_ahead(&bundle.access.allowed) })
    }
}

impl Net {
    /// The network of a bundle, of what was granted for it.
    pub(crate) fn new(bundle: &Bundle, grant: Grant) -> Arc<Self> {
        let needs = Needs::of(bundle.network, &bundle.access);
        let policy = Policy::new(bundle.network, bundle.access.allowed.clone(), grant.names);
        if !needs.lookups {
            policy.seal();
        }
        let (ports, sockets) = (Ports::new(grant.ports), AtomicUsize::new(0));
        Arc::new(Self { needs, policy, ports, sockets, trust: OnceLock::new() })
    }

    /// No network.
    pub(crate) fn none() -> Arc<Self> {
        Arc::new(Self {
            needs: Needs::of(Network::None, &NetworkAccess::default()),
            policy: Policy::new(Network::None, Vec::new(), BTreeMap::new()),
            ports: Ports::default(),
            sockets: AtomicUsize::new(0),
            trust: OnceLock::new(),
        })
    }

    /// Whom connections by TLS trust: the host's certificates, read when they are asked for first. A
    /// process that is going to lose sight of them asks before.
    pub(crate) fn trust(&self) -> Option<Arc<ClientConfig>> {
        self.trust.get_or_init(trust).clone()
    }

    /// Whether any port is published.
    pub(crate) fn offers(&self, protocol: Protocol) -> bool {
        self.ports.publications().iter().any(|own| own.protocol == protocol)
    }

    /// The ports of the host that lead to the guest.
    pub(crate) fn publications(&self) -> Vec<Publication> {
        self.ports.publications()
    }

    /// The sockets of the host that are the guest's `port`: `None` when it is not published, and an
    /// error while another socket of the guest has them.
    pub(crate) fn claim(
        self: &Arc<Self>,
        protocol: Protocol,
        port: u16,
    ) -> Option<Result<Claim, Taken>> {
        Claim::new(self, |own| own.protocol == protocol && own.guest_port == port)
    }

    /// All ports of a protocol at once.
    pub(crate) fn claim_all(self: &Arc<Self>, protocol: Protocol) -> Option<Result<Claim, Taken>> {
        Claim::new(self, |own| own.protocol == protocol)
    }

    /// Room for one more socket.
    pub(crate) fn room(self: &Arc<Self>) -> Option<Room> {
        let more = |count: usize| (count < MAX_SOCKETS).then_some(count + 1);
        let counted = self.sockets.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        counted.ok().map(|_| Room(Arc::clone(self)))
    }
}

/// A socket, as it counts.
pub(crate) struct Room(pub(crate) Arc<Net>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.sockets.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_needs_is_known_before_it_starts() {
        let needs = |network, published: &[&str], allowed: &[&str]| {
            let access = NetworkAccess {
                published: published.iter().flat_map(|t| Publication::parse(t).unwrap()).collect(),
                allowed: allowed.iter().map(|text| text.parse().unwrap()).collect(),
            };
            let Needs { ports, sockets, lookups } = Needs::of(network, &access);
            (ports, sockets, lookups)
        };
        assert_eq!(needs(Network::None, &[], &[]), (false, false, false));
        assert_eq!(needs(Network::None, &["80"], &[]), (true, false, false));
        assert_eq!(needs(Network::None, &[], &["10.0.0.1:80", "a.example"]), (false, true, false));
        assert_eq!(needs(Network::None, &[], &["*.example"]), (false, true, true));
        assert_eq!(needs(Network::Host, &["80"], &[]), (true, true, true));
        assert_eq!(needs(Network::Host, &[], &["10.0.0.1"]), (false, true, false));
        assert!(Net::none().needs.is_nothing());
    }

    #[test]
    fn sockets_are_counted() {
        let net = Net::none();
        let all: Vec<_> = (0..MAX_SOCKETS).map(|_| net.room().unwrap()).collect();
        assert!(net.room().is_none());
        drop(all);
        assert!(net.room().is_some());
    }
}
