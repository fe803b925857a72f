//! The host's ports that lead to a guest: bound before it starts, and its own when it binds.

use std::{
    io,
    net::UdpSocket as StdUdpSocket,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use silo_isolation::{Error, Protocol, Publication, Result};
use socket2::{Domain, Socket as HostSocket, Type};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};

use super::Net;

/// How many connections wait to be accepted.
const BACKLOG: u32 = 1024;

/// The ports of a guest.
#[derive(Default)]
pub(super) struct Ports(Vec<Port>);

struct Port {
    publication: Publication,
    socket: Mutex<Socket>,
    /// Whether a socket of the guest is this.
    claimed: AtomicBool,
}

/// A socket of the host as far as it got.
enum Socket {
    /// Nobody can connect before the guest listens.
    Bound(TcpSocket),
    /// It listens for good, whether the guest still does or not: there is no way back.
    Listening(Arc<TcpListener>),
    Datagrams(StdUdpSocket),
    Receiving(Arc<UdpSocket>),
    /// It could not be put to use.
    Broken,
}

/// Binds a port of the host for each of these, or for none. Returns them with the numbers that were open.
pub(super) fn bind(publications: &[Publication]) -> Result<Vec<(Publication, HostSocket)>> {
    let port = |publication: &Publication| {
        let step = format!("publish {}/{}", publication.host(), publication.protocol);
        let failed = |source| Error::Step { step, source: Box::new(source) };
        let socket = bind_one(publication).map_err(failed)?;
        let address = socket.local_addr().ok().and_then(|address| address.as_socket());
        let host_port = address.map_or(publication.host_port, |address| address.port());
        Ok((Publication { host_port, ..*publication }, socket))
    };
    publications.iter().map(port).collect()
}

fn bind_one(publication: &Publication) -> io::Result<HostSocket> {
    let address = publication.host();
    let kind = match publication.protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let socket = HostSocket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // So that a server can be started again at once. On Windows it means another thing.
    #[cfg(unix)]
    socket.set_reuse_address(publication.protocol == Protocol::Tcp)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

impl Ports {
    /// Ports that [`bind`] made, here or in another process.
    pub(super) fn new(bound: Vec<(Publication, HostSocket)>) -> Self {
        let port = |(publication, socket): (Publication, HostSocket)| {
            let socket = match publication.protocol {
                Protocol::Tcp => Socket::Bound(TcpSocket::from_std_stream(socket.into())),
                Protocol::Udp => Socket::Datagrams(socket.into()),
            };
            Port { publication, socket: Mutex::new(socket), claimed: AtomicBool::new(false) }
        };
        Self(bound.into_iter().map(port).collect())
    }

    pub(super) fn publications(&self) -> Vec<Publication> {
        self.0.iter().map(|port| port.publication).collect()
    }
}

impl Port {
    fn listen(&self) -> io::Result<Arc<TcpListener>> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *socket, Socket::Broken) {
            Socket::Bound(bound) => {
                let listener = Arc::new(bound.listen(BACKLOG)?);
                *socket = Socket::Listening(Arc::clone(&listener));
                Ok(listener)
            }
            Socket::Listening(listener) => {
                *socket = Socket::Listening(Arc::clone(&listener));
                Ok(listener)
            }
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn receive(&self) -> io::Result<Arc<UdpSocket>> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *socket, Socket::Broken) {
            Socket::Datagrams(bound) => {
                let receiving = Arc::new(UdpSocket::from_std(bound)?);
                *socket = Socket::Receiving(Arc::clone(&receiving));
                Ok(receiving)
            }
            Socket::Receiving(receiving) => {
                *socket = Socket::Receiving(Arc::clone(&receiving));
                Ok(receiving)
            }
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// That another socket of the guest has the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken;

/// A socket's hold on ports of the host.
pub(crate) struct Claim {
    net: Arc<Net>,
    ports: Vec<usize>,
}

impl Claim {
    /// `None` where no port `is_meant`.
    pub(super) fn new(
        net: &Arc<Net>,
        is_meant: impl Fn(&Publication) -> bool,
    ) -> Option<Result<Self, Taken>> {
        let ports = net.ports.0.iter().enumerate();
        let ports: Vec<usize> =
            ports.filter(|(_, port)| is_meant(&port.publication)).map(|(index, _)| index).collect();
        if ports.is_empty() {
            return None;
        }
        let mut claim = Self { net: Arc::clone(net), ports: Vec::new() };
        for index in ports {
            if net.ports.0[index].claimed.swap(true, Ordering::SeqCst) {
                return Some(Err(Taken));
            }
            claim.ports.push(index);
        }
        Some(Ok(claim))
    }

    fn ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().map(|&index| &self.net.ports.0[index])
    }

    /// Lets clients connect.
    pub(crate) fn listen(&self) -> io::Result<Vec<Arc<TcpListener>>> {
        self.ports().map(Port::listen).collect()
    }

    /// The sockets that get datagrams.
    pub(crate) fn receive(&self) -> io::Result<Vec<Arc<UdpSocket>>> {
        self.ports().map(Port::receive).collect()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        for port in self.ports() {
            port.claimed.store(false, Ordering::SeqCst);
        }
    }
}
