//! Whom a guest may reach.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    thread,
};

use silo_isolation::{Destination, Network, Peer, Protocol};

use super::names::{HostResolver, NameError, Names};

/// A guest's peers.
pub(crate) struct Policy {
    network: Network,
    allowed: Vec<Destination>,
    names: Names,
}

/// What those names mean that are allowed as a whole. Those that nobody knows are left out.
pub(super) fn look_up_ahead(allowed: &[Destination]) -> BTreeMap<String, Vec<IpAddr>> {
    let names: BTreeSet<&str> = allowed
        .iter()
        .filter_map(|to| match &to.peer {
            Peer::Name(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let look_up = |name: &str| Names::new(Box::new(HostResolver), BTreeMap::new()).look_up(name);
    thread::scope(|scope| {
        let asked: Vec<_> =
            names.into_iter().map(|name| (name, scope.spawn(move || look_up(name)))).collect();
        let found = asked
            .into_iter()
            .filter_map(|(name, answer)| Some((name.to_owned(), answer.join().ok()?.ok()?)));
        found.collect()
    })
}

impl Policy {
    /// One that knows already what these `names` mean.
    pub(super) fn new(
        network: Network,
        allowed: Vec<Destination>,
        names: BTreeMap<String, Vec<IpAddr>>,
    ) -> Self {
        Self { network, allowed, names: Names::new(Box::new(HostResolver), names) }
    }

    /// Has the host be asked for no more names.
    pub(super) fn seal(&self) {
        self.names.seal();
    }

    /// Whether it may do all that a process of the host may.
    fn is_open(&self) -> bool {
        self.network == Network::Host && self.allowed.is_empty()
    }

    /// Whether there is anyone whom it may reach.
    pub(crate) fn reaches_anyone(&self) -> bool {
        self.is_open() || !self.allowed.is_empty()
    }

    /// Whether it may offer any port of the host.
    pub(crate) fn may_listen(&self) -> bool {
        self.network == Network::Host
    }

    /// Whether it may connect or send to `peer`.
    pub(crate) fn may_reach(&self, protocol: Protocol, peer: SocketAddr) -> bool {
        let address = peer.ip().to_canonical();
        let mut rules = self.allowed.iter().filter(|to| to.has_port(protocol, peer.port()));
        self.is_open()
            || rules.any(|to| {
                to.has_address(address) || self.names.have(address, |name| to.has_name(name))
            })
    }

    /// Whether it may ask for the addresses of a name.
    fn may_ask(&self, name: &str) -> bool {
        self.is_open() || self.allowed.iter().any(|to| to.has_name(name))
    }

    /// The addresses of `name`, which may be one itself. Waits for the host's answer when it is the first
    /// time.
    pub(crate) fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, NameError> {
        if let Some(address) = literal(name) {
            return if self.reaches_anyone() { Ok(vec![address]) } else { Err(NameError::Denied) };
        }
        let name = normal(name).ok_or(NameError::Invalid)?;
        if !self.may_ask(&name) {
            return Err(NameError::Denied);
        }
        if self.is_open() { self.names.ask(&name) } else { self.names.look_up(&name) }
    }

    /// The same where nobody needs to be asked for it; else `None`.
    pub(crate) fn known(&self, name: &str) -> Option<Result<Vec<IpAddr>, NameError>> {
        let is_decided = match (literal(name), normal(name)) {
            (Some(_), _) | (None, None) => true,
            (None, Some(name)) => {
                !self.may_ask(&name) || (!self.is_open() && self.names.knows(&name))
            }
        };
        is_decided.then(|| self.look_up(name))
    }

    /// Where it may connect to reach `port` of `host`, an address or a name.
    pub(crate) fn routes(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NameError> {
        let addresses = self.look_up(host)?;
        let by_name = literal(host).is_none()
            && self.allowed.iter().any(|to| to.has_name(host) && to.has_port(Protocol::Tcp, port));
        let routes = addresses.into_iter().map(|address| SocketAddr::new(address, port));
        let may = |route: &SocketAddr| by_name || self.may_reach(Protocol::Tcp, *route);
        let routes: Vec<_> = routes.filter(may).collect();
        if routes.is_empty() { Err(NameError::Denied) } else { Ok(routes) }
    }
}

/// An address in place of a name.
fn literal(name: &str) -> Option<IpAddr> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse().ok()
}

/// A name as it is looked up; `None` where it is none. The forms in which some resolvers take an address
/// for a name (`127.1`, `0x7f000001`) end with a number, as no name does.
fn normal(name: &str) -> Option<String> {
    match name.parse() {
        Ok(Peer::Name(name)) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use proptest::prelude::*;

    use super::{super::names::Resolve, *};

    /// Answers differently each time it is asked.
    struct Rebinding(Vec<&'static str>, Arc<AtomicUsize>);

    impl Resolve for Rebinding {
        fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            let count = self.1.fetch_add(1, Ordering::SeqCst);
            let answer = self.0.get(count).ok_or(io::ErrorKind::NotFound)?;
            Ok(answer.split(' ').map(|text| text.parse().unwrap()).collect())
        }
    }

    fn policy(network: Network, allowed: &[&str], answers: &[&'static str]) -> Policy {
        let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
        let resolver = Rebinding(answers.to_vec(), Arc::default());
        with_resolver(network, allowed, resolver)
    }

    fn with_resolver(
        network: Network,
        allowed: Vec<Destination>,
        resolver: impl Resolve + 'static,
    ) -> Policy {
        Policy { network, allowed, names: Names::new(Box::new(resolver), BTreeMap::new()) }
    }

    fn tcp(policy: &Policy, peer: &str) -> bool {
        policy.may_reach(Protocol::Tcp, peer.parse().unwrap())
    }

    #[test]
    fn nothing_is_reached_where_nothing_is_allowed() {
        let none = policy(Network::None, &[], &["1.2.3.4"]);
        assert!(!tcp(&none, "1.2.3.4:80") && !none.reaches_anyone() && !none.may_listen());
        assert_eq!(none.look_up("example.com"), Err(NameError::Denied));
        assert_eq!(none.look_up("1.2.3.4"), Err(NameError::Denied));
        let host = policy(Network::Host, &[], &["1.2.3.4"]);
        assert!(tcp(&host, "1.2.3.4:80") && host.may_listen());
        assert_eq!(host.look_up("example.com").unwrap().len(), 1);
    }

    #[test]
    fn a_list_restricts_the_hosts_network_as_well() {
        let policy = policy(Network::Host, &["10.0.0.0/8:80"], &[]);
        assert!(tcp(&policy, "10.9.9.9:80") && policy.may_listen());
        assert!(!tcp(&policy, "10.9.9.9:81") && !tcp(&policy, "11.0.0.1:80"));
    }

    #[test]
    fn a_name_means_what_it_meant_first() {
        let policy = policy(Network::None, &["a.example:80"], &["1.1.1.1", "192.168.0.1"]);
        assert!(!tcp(&policy, "1.1.1.1:80"), "before it was looked up");
        let first = policy.look_up("A.Example.").unwrap();
        assert!(tcp(&policy, "1.1.1.1:80") && !tcp(&policy, "1.1.1.1:81"));
        assert_eq!(policy.look_up("a.example").unwrap(), first);
        assert!(!tcp(&policy, "192.168.0.1:80"));
        assert_eq!(policy.routes("a.example", 80).unwrap(), ["1.1.1.1:80".parse().unwrap()]);
        assert_eq!(policy.routes("a.example", 81), Err(NameError::Denied));
        assert_eq!(policy.routes("192.168.0.1", 80), Err(NameError::Denied));
    }

    #[test]
    fn no_name_but_its_own_means_the_host() {
        let rebound = policy(
            Network::None,
            &["*.example"],
            &["127.0.0.1 169.254.169.254 ::1 0.0.0.0 fe80::1 224.0.0.1", "127.0.0.1 10.0.0.1"],
        );
        assert_eq!(rebound.look_up("a.example"), Err(NameError::Unknown));
        assert_eq!(rebound.look_up("b.example").unwrap(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert!(!tcp(&rebound, "127.0.0.1:80") && tcp(&rebound, "10.0.0.1:80"));
        let local = policy(Network::None, &["localhost:80"], &["127.0.0.1 ::1"]);
        local.look_up("localhost").unwrap();
        assert!(tcp(&local, "127.0.0.1:80") && tcp(&local, "[::1]:80"));
    }

    #[test]
    fn what_was_granted_is_all_where_nobody_may_be_asked() {
        let names = BTreeMap::from([("a.example".to_owned(), vec!["1.1.1.1".parse().unwrap()])]);
        let allowed = ["a.example", "b.example"].map(|text| text.parse().unwrap()).into();
        let policy = Policy::new(Network::None, allowed, names);
        policy.seal();
        assert!(tcp(&policy, "1.1.1.1:80") && policy.look_up("a.example").is_ok());
        assert_eq!(policy.known("b.example"), Some(Err(NameError::Unknown)));
        assert_eq!(policy.known("c.example"), Some(Err(NameError::Denied)));
    }

    #[test]
    fn an_address_in_disguise_is_no_name() {
        let policy = policy(Network::None, &["*"], &["1.1.1.1"]);
        for name in ["127.1", "0x7f000001", "2130706433", "a b", "", ".", "a..b", "http://a"] {
            assert_eq!(policy.look_up(name), Err(NameError::Invalid), "{name}");
        }
    }

    #[test]
    fn names_are_not_looked_up_without_end() {
        struct Same;
        impl Resolve for Same {
            fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
                Ok(vec!["1.1.1.1".parse().unwrap()])
            }
        }
        let allowed = vec!["*.example".parse().unwrap()];
        let policy = with_resolver(Network::None, allowed, Same);
        let asked = (0..2000).map(|number| policy.look_up(&format!("n{number}.example")));
        assert_eq!(asked.filter(|answer| *answer == Err(NameError::TooMany)).count(), 2000 - 1024);
    }

    /// Names of a small world with their addresses.
    struct World(BTreeMap<String, Vec<IpAddr>>);

    impl Resolve for World {
        fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            self.0.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (8..12_u8, 0..3_u8, 0..3_u8).prop_map(|(a, b, c)| IpAddr::from([a, b, 0, c])),
            (0..3_u16).prop_map(|low| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, low])),
        ]
    }

    fn host() -> impl Strategy<Value = String> {
        prop_oneof![
            address().prop_map(|address| Peer::Net {
                address,
                prefix: if address.is_ipv4() { 32 } else { 128 }
            }
            .to_string()),
            (address(), 0..=32_u8)
                .prop_map(|(address, prefix)| Peer::Net { address, prefix }.to_string()),
            "[ab]\\.example".prop_map(String::from),
            Just("*.example".to_owned()),
        ]
    }

    proptest! {
        /// What a policy permits, some rule permits by itself; and what no rule says is refused.
        #[test]
        fn permits_exactly_what_a_rule_says(
            rules in prop::collection::vec((host(), 78..83_u16), 0..4),
            world in prop::collection::btree_map("[abc]\\.example", prop::collection::vec(address(), 1..3), 0..3),
            asked in prop::collection::vec("[abc]\\.example", 0..3),
            peer in address(),
            port in 78..83_u16,
        ) {
            let rules: Vec<String> = rules.iter().map(|(host, port)| format!("{host}:{port}")).collect();
            let parsed: Vec<Destination> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
            let policy = with_resolver(Network::None, parsed.clone(), World(world.clone()));
            for name in &asked {
                let allowed = parsed.iter().any(|rule| rule.has_name(name));
                prop_assert_eq!(policy.look_up(name).is_ok(), allowed && world.contains_key(name));
            }
            let by_rule = |rule: &Destination| {
                let meant = asked.iter().any(|name| {
                    rule.has_name(name) && world.get(name).is_some_and(|found| found.contains(&peer))
                });
                rule.ports.has(port) && (rule.has_address(peer) || meant)
            };
            let peer = SocketAddr::new(peer, port);
            prop_assert_eq!(policy.may_reach(Protocol::Tcp, peer), parsed.iter().any(by_rule));
            prop_assert_eq!(policy.may_reach(Protocol::Udp, peer), parsed.iter().any(by_rule));
        }
    }
}
