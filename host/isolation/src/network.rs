//! What of the network a guest may use.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// What of the network a guest sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Nothing but its own loopback interface.
    #[default]
    None,
    /// The host's network, as the host has it.
    Host,
}

/// What a guest may use beyond its [`Network`], or is held to within it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkAccess {
    /// Ports of the guest that the host offers.
    pub published: Vec<Publication>,
    /// What it may connect and send to, and nothing else. On the host's network, none of these is
    /// no restriction.
    pub allowed: Vec<Destination>,
}

impl NetworkAccess {
    /// Whether nothing was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.published.is_empty() && self.allowed.is_empty()
    }
}

/// What ports are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    fn of(text: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp].into_iter().find(|protocol| protocol.name() == text)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A port of the guest that the host offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Publication {
    /// The address of the host.
    pub address: IpAddr,
    /// The host's port; 0 for any that is free.
    pub host_port: u16,
    /// The guest's port.
    pub guest_port: u16,
    /// Whose ports they are.
    pub protocol: Protocol,
}

/// As Docker lists it: `0.0.0.0:8080->80/tcp`.
impl fmt::Display for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { guest_port, protocol, .. } = self;
        write!(f, "{}->{guest_port}/{protocol}", self.host())
    }
}

impl Publication {
    /// Where it is on the host.
    #[must_use]
    pub const fn host(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.host_port)
    }

    /// Reads Docker's `[[ADDRESS:]HOST:]GUEST[/PROTOCOL]`, whose ports may be ranges of one length.
    pub fn parse(text: &str) -> Result<Vec<Self>, InvalidNetwork> {
        let invalid =
            || InvalidNetwork("expected [[ADDRESS:]HOST:]GUEST[/tcp|udp], such as 8080:80");
        let (text, protocol) = match text.rsplit_once('/') {
            Some((text, protocol)) => (text, Protocol::of(protocol).ok_or_else(invalid)?),
            None => (text, Protocol::Tcp),
        };
        let (rest, guest) =
            text.rsplit_once(':').map_or((None, text), |(rest, guest)| (Some(rest), guest));
        let guest: Ports = guest.parse().map_err(|_| invalid())?;
        let (address, host) = match rest {
            None => (None, ""),
            Some(rest) => {
                rest.rsplit_once(':').map_or((None, rest), |(address, host)| (Some(address), host))
            }
        };
        let address = match address {
            None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Some(address) => unbracketed(address).parse().map_err(|_| invalid())?,
        };
        let host = match host {
            "" | "0" => None,
            ports => Some(ports.parse::<Ports>().map_err(|_| invalid())?),
        };
        if host.is_some_and(|host| host.count() != guest.count()) {
            return Err(InvalidNetwork("the two ranges of ports differ in length"));
        }
        let first = host.map(|host| host.first);
        let publication = |guest_port: u16| Self {
            address,
            host_port: first.map_or(0, |first| first + (guest_port - guest.first)),
            guest_port,
            protocol,
        };
        Ok((guest.first..=guest.last).map(publication).collect())
    }
}

/// Where a guest may connect and send to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Destination {
    /// Whom.
    pub peer: Peer,
    /// At which of its ports.
    pub ports: Ports,
    /// How; `None` is either.
    pub protocol: Option<Protocol>,
}

/// The other end of a [`Destination`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Anyone, by address or name.
    Any,
    /// Addresses that begin with the first `prefix` bits of this one.
    Net {
        /// An address of it.
        address: IpAddr,
        /// How many bits count.
        prefix: u8,
    },
    /// Who has this name, in lower case.
    Name(String),
    /// Who has a name that ends with a dot and this one.
    Below(String),
}

/// Ports from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last, which is not less.
    pub last: u16,
}

/// Text that says nothing about a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidNetwork(&'static str);

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidNetwork {}

impl Ports {
    /// Every port.
    pub const ALL: Self = Self { first: 1, last: u16::MAX };

    /// Whether `port` is one of them.
    #[must_use]
    pub const fn has(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    const fn count(self) -> u16 {
        self.last - self.first
    }
}

/// `80` or `8000-8010`.
impl FromStr for Ports {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let port = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit());
            let port = text.parse().ok().filter(|&port: &u16| plain && port > 0);
            port.ok_or(InvalidNetwork("a port is a number from 1 to 65535"))
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (port(first)?, port(last)?) {
            (first, last) if first <= last => Ok(Self { first, last }),
            _ => Err(InvalidNetwork("a range of ports begins with the lower one")),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

impl Destination {
    /// Whether it is about `port` of this protocol.
    #[must_use]
    pub fn has_port(&self, protocol: Protocol, port: u16) -> bool {
        self.protocol.is_none_or(|own| own == protocol) && self.ports.has(port)
    }

    /// Whether `address` is its peer by what it says, whatever names the address may have.
    #[must_use]
    pub fn has_address(&self, address: IpAddr) -> bool {
        match &self.peer {
            Peer::Any => true,
            Peer::Net { address: net, prefix } => is_within(address.to_canonical(), *net, *prefix),
            Peer::Name(_) | Peer::Below(_) => false,
        }
    }

    /// Whether it is about who has this name.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        match &self.peer {
            Peer::Any => true,
            Peer::Net { .. } => false,
            Peer::Name(own) => *own == name,
            Peer::Below(domain) => {
                name.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
        }
    }
}

fn is_within(address: IpAddr, net: IpAddr, prefix: u8) -> bool {
    match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) => {
            let differ = u32::from(address) ^ u32::from(net);
            differ.checked_shr(32 - u32::from(prefix)).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(net)) => {
            let differ = u128::from(address) ^ u128::from(net);
            differ.checked_shr(128 - u32::from(prefix)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// `HOST[:PORTS][/PROTOCOL]`: an address, a CIDR block, a name, `*.NAME` or `*`; an IPv6 address that
/// is followed by ports is in brackets.
impl FromStr for Destination {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (text, protocol) = match text.rsplit_once('/') {
            Some((rest, protocol)) if Protocol::of(protocol).is_some() => {
                (rest, Protocol::of(protocol))
            }
            _ => (text, None),
        };
        if let Ok(peer) = text.parse() {
            return Ok(Self { peer, ports: Ports::ALL, protocol });
        }
        let (peer, ports) = text.rsplit_once(':').ok_or(NO_PEER)?;
        // `::1:80` is an address as well.
        if peer.contains(':') && !peer.starts_with('[') {
            return Err(InvalidNetwork(
                "an IPv6 address before a port is in brackets, such as [::1]:80",
            ));
        }
        Ok(Self { peer: peer.parse()?, ports: ports.parse()?, protocol })
    }
}

const NO_PEER: InvalidNetwork = InvalidNetwork(
    "expected HOST[:PORT[-PORT]][/tcp|udp]; HOST is an address, a CIDR block, a name, *.NAME or *",
);

impl FromStr for Peer {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let bracketed = address.starts_with('[') && address.ends_with(']');
        let bare = unbracketed(address);
        if let Ok(address) = bare.parse::<IpAddr>() {
            let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
            if bracketed && address.is_ipv4() {
                return Err(NO_PEER);
            }
            let plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
            let prefix = match prefix {
                None => bits,
                Some(text) => Some(text)
                    .filter(plain)
                    .and_then(|text| text.parse().ok())
                    .filter(|&prefix| prefix <= bits)
                    .ok_or(InvalidNetwork(
                        "the prefix of a block is a number of bits of its address",
                    ))?,
            };
            return Ok(Self::Net { address, prefix });
        }
        if prefix.is_some() {
            return Err(NO_PEER);
        }
        match text.strip_prefix("*.") {
            Some(domain) => name(domain).map(Self::Below),
            None => name(text).map(Self::Name),
        }
    }
}

/// A name of the domain name system. One that ends with a number would be taken for an address by
/// some (`127.1`, `0x7f.1`).
fn name(text: &str) -> Result<String, InvalidNetwork> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(valid)
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    if text.len() > 253 || is_number || !text.split('.').all(is_label) {
        return Err(NO_PEER);
    }
    Ok(text.to_ascii_lowercase())
}

fn unbracketed(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Net { address: IpAddr::V4(address), prefix: 32 } => write!(f, "{address}"),
            Self::Net { address: IpAddr::V4(address), prefix } => write!(f, "{address}/{prefix}"),
            Self::Net { address: IpAddr::V6(address), prefix: 128 } => write!(f, "[{address}]"),
            Self::Net { address: IpAddr::V6(address), prefix } => write!(f, "[{address}]/{prefix}"),
            Self::Name(name) => f.write_str(name),
            Self::Below(domain) => write!(f, "*.{domain}"),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.peer)?;
        if self.ports != Ports::ALL {
            write!(f, ":{}", self.ports)?;
        }
        self.protocol.map_or(Ok(()), |protocol| write!(f, "/{protocol}"))
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.to_string()
    }
}

impl TryFrom<String> for Destination {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, InvalidNetwork> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(text: &str) -> Vec<String> {
        Publication::parse(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn publications_are_read_as_docker_reads_them() {
        assert_eq!(published("8080:80"), ["0.0.0.0:8080->80/tcp"]);
        assert_eq!(published("80"), ["0.0.0.0:0->80/tcp"]);
        assert_eq!(published("127.0.0.1::80"), ["127.0.0.1:0->80/tcp"]);
        assert_eq!(published("127.0.0.1:0:80"), ["127.0.0.1:0->80/tcp"]);
        assert_eq!(published("127.0.0.1:53:5353/udp"), ["127.0.0.1:53->5353/udp"]);
        assert_eq!(published("[::1]:8080:80"), ["[::1]:8080->80/tcp"]);
        assert_eq!(published("7000-7001:80-81"), ["0.0.0.0:7000->80/tcp", "0.0.0.0:7001->81/tcp"]);
        for text in [
            "",
            ":",
            "80:0",
            "80:65536",
            "a:80",
            "1.2.3:80:80",
            "80/sctp",
            "80/",
            "1-2:80",
            "81-80:81-80",
            "+80",
            "80:80:80",
        ] {
            assert!(Publication::parse(text).is_err(), "{text}");
        }
    }

    fn allowed(text: &str) -> Destination {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn destinations_are_addresses_blocks_and_names() {
        for (text, shown) in [
            ("*", "*"),
            ("*:53/udp", "*:53/udp"),
            ("Example.COM.:443", "example.com:443"),
            ("*.example.com:80-89", "*.example.com:80-89"),
            ("10.0.0.0/8:80/tcp", "10.0.0.0/8:80/tcp"),
            ("10.1.2.3", "10.1.2.3"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("::1", "[::1]"),
            ("[::1]:80", "[::1]:80"),
            ("fd00::/8", "[fd00::]/8"),
            ("[fd00::]/8:443", "[fd00::]/8:443"),
        ] {
            assert_eq!(allowed(text).to_string(), shown);
            assert_eq!(allowed(shown), allowed(text));
        }
        for text in [
            "",
            ":",
            ":80",
            "a:",
            "a:0",
            "a:b",
            "a:2-1",
            "127.1",
            "127.1:80",
            "0x7f.1",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "a/8",
            "a b",
            "*.",
            "*.*",
            "a..b",
            "[10.0.0.1]",
            "::1:80:x",
            "http://a",
            "a/",
            "fd00::/129",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_destination_is_held_to_its_peer_port_and_protocol() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let net = allowed("10.1.0.0/16:80-81/tcp");
        assert!(
            net.has_address(address("10.1.255.1")) && net.has_address(address("::ffff:10.1.0.1"))
        );
        assert!(!net.has_address(address("10.2.0.1")) && !net.has_address(address("::1")));
        assert!(net.has_port(Protocol::Tcp, 81) && !net.has_port(Protocol::Tcp, 82));
        assert!(!net.has_port(Protocol::Udp, 80) && !net.has_name("10.1.0.1"));
        assert!(allowed("0.0.0.0/0").has_address(address("8.8.8.8")));
        assert!(!allowed("0.0.0.0/0").has_address(address("::8")));
        let name = allowed("example.com");
        assert!(name.has_name("EXAMPLE.com.") && !name.has_name("a.example.com"));
        assert!(!name.has_address(address("1.2.3.4")));
        let below = allowed("*.example.com");
        assert!(below.has_name("a.example.com") && below.has_name("a.b.example.com"));
        assert!(
            !below.has_name("example.com")
                && !below.has_name("badexample.com")
                && !below.has_name(".example.com")
        );
    }
}
