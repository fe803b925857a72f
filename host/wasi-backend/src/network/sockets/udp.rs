//! `wasi:sockets/udp`.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    io,
    net::{SocketAddr, UdpSocket as StdUdpSocket},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use silo_isolation::Protocol;
use socket2::{Domain, SockRef, Type};
use tokio::{io::Interest, net::UdpSocket as HostSocket};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{
    SocketError,
    bindings::sockets::{
        network::{ErrorCode, IpAddressFamily, IpSocketAddress, Network},
        udp::{
            self, IncomingDatagram, IncomingDatagramStream, OutgoingDatagram,
            OutgoingDatagramStream, UdpSocket,
        },
        udp_create_socket,
    },
};
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use super::{Family, Result, Sockets, given, is_own, options::Options, own};
use crate::network::{Claim, Net, Room};

/// The most datagrams that one call takes or gives.
const MAX_DATAGRAMS: usize = 16;
/// The largest datagram, in bytes.
const MAX_SIZE: usize = 65_507;
/// The most clients of a published port that the guest may still answer.
const MAX_PEERS: usize = 4096;

/// A socket of the guest.
pub(super) struct Socket {
    family: Family,
    options: Options,
    bound: Option<Arc<Bound>>,
    pending: bool,
    remote: Option<SocketAddr>,
    room: Arc<Room>,
}

/// What a bound socket is on the host.
struct Bound {
    family: Family,
    /// One for each address at which the port is published.
    sockets: Vec<SharedSocket>,
    local: SocketAddr,
    /// Whether anyone may send to it.
    is_server: bool,
    peers: Mutex<Peers>,
    _claim: Option<Claim>,
    room: Arc<Room>,
}

type SharedSocket = Arc<HostSocket>;

/// Who sent something, and to which socket, so that it may be answered.
#[derive(Default)]
struct Peers {
    sockets: HashMap<SocketAddr, usize>,
    order: VecDeque<SocketAddr>,
}

impl Peers {
    fn add(&mut self, peer: SocketAddr, socket: usize) {
        if self.sockets.insert(peer, socket).is_some() {
            return;
        }
        self.order.push_back(peer);
        if self.order.len() > MAX_PEERS
            && let Some(oldest) = self.order.pop_front()
        {
            self.sockets.remove(&oldest);
        }
    }
}

impl Bound {
    fn net(&self) -> &Net {
        &self.room.0
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks whom the guest wants to send to. Who has sent something may be answered, by the address that
    /// the guest was told.
    fn check(&self, peer: SocketAddr) -> Result<()> {
        if self.peers().sockets.contains_key(&peer) {
            return Ok(());
        }
        self.family.check_remote(peer)?;
        if self.net().policy.may_reach(Protocol::Udp, peer) {
            return Ok(());
        }
        Err(ErrorCode::AccessDenied.into())
    }

    /// The next datagram that the guest may see.
    fn receive(&self, only: Option<SocketAddr>) -> io::Result<(Vec<u8>, SocketAddr)> {
        let mut failed = io::ErrorKind::WouldBlock.into();
        for (index, socket) in self.sockets.iter().enumerate() {
            let mut data = vec![0; MAX_SIZE];
            loop {
                match socket.try_recv_from(&mut data) {
                    Ok((count, peer)) => {
                        let shown = self.family.shown(peer);
                        let wanted = only.is_none_or(|only| only == shown);
                        let may =
                            self.is_server || self.net().policy.may_reach(Protocol::Udp, peer);
                        if !wanted || !may {
                            continue;
                        }
                        if self.is_server {
                            self.peers().add(shown, index);
                        }
                        data.truncate(count);
                        return Ok((data, shown));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        failed = error;
                        break;
                    }
                }
            }
        }
        Err(failed)
    }

    fn send(&self, data: &[u8], peer: SocketAddr) -> Result<()> {
        if data.len() > MAX_SIZE {
            return Err(ErrorCode::DatagramTooLarge.into());
        }
        self.check(peer)?;
        let index = self.peers().sockets.get(&peer).copied().unwrap_or_default();
        let socket = self.sockets.get(index).ok_or(ErrorCode::InvalidState)?;
        // A guest's IPv6 socket may be one of IPv4 on the host.
        let is_v4 = socket.local_addr()?.is_ipv4();
        let peer =
            if is_v4 { SocketAddr::new(peer.ip().to_canonical(), peer.port()) } else { peer };
        if peer.is_ipv4() != is_v4 {
            return Err(ErrorCode::RemoteUnreachable.into());
        }
        // Not by tokio, which knows of a new socket only later that there is room.
        match SockRef::from(&**socket).send_to(data, &peer.into()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let _ = socket
                    .try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                Err(ErrorCode::WouldBlock.into())
            }
            sent => Ok(sent.map(drop)?),
        }
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let ready = |socket: &SharedSocket| socket.poll_recv_ready(context).is_ready();
        if self.sockets.iter().any(ready) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// What a socket receives from now on.
struct Incoming(Arc<Bound>, Option<SocketAddr>);

#[async_trait::async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        poll_fn(|context| self.0.poll_readable(context)).await;
    }
}

/// What a socket sends.
struct Outgoing {
    bound: Arc<Bound>,
    remote: Option<SocketAddr>,
    permitted: usize,
}

#[async_trait::async_trait]
impl Pollable for Outgoing {
    async fn ready(&mut self) {
        if let Some(socket) = self.bound.sockets.first() {
            let _ = socket.writable().await;
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Socket {
    /// All of it is done at once.
    async fn ready(&mut self) {}
}

impl Socket {
    fn bind(&mut self, net: &Arc<Net>, address: SocketAddr) -> Result<()> {
        if self.bound.is_some() {
            return Err(ErrorCode::InvalidState.into());
        }
        self.family.check_local(address)?;
        let claim = match address.port() {
            0 => None,
            port => net.claim(Protocol::Udp, port),
        };
        let (sockets, local, is_server, claim) = match claim {
            Some(_) if !is_own(address.ip()) && !net.policy.may_listen() => {
                return Err(ErrorCode::AddressNotBindable.into());
            }
            Some(Err(_taken)) => return Err(ErrorCode::AddressInUse.into()),
            Some(Ok(claim)) => (claim.receive()?, address, true, Some(claim)),
            None if net.policy.may_listen() => {
                let socket = self.make(address)?;
                let local = socket.local_addr()?;
                (vec![Arc::new(socket)], local, true, None)
            }
            None if address.port() == 0 && net.policy.reaches_anyone() => {
                let socket = self.make(self.family.unspecified(0))?;
                let local = SocketAddr::new(address.ip(), socket.local_addr()?.port());
                (vec![Arc::new(socket)], local, false, None)
            }
            None => return Err(ErrorCode::AccessDenied.into()),
        };
        self.bound = Some(Arc::new(Bound {
            family: self.family,
            sockets,
            local,
            is_server,
            peers: Mutex::default(),
            _claim: claim,
            room: Arc::clone(&self.room),
        }));
        Ok(())
    }

    fn make(&self, address: SocketAddr) -> io::Result<HostSocket> {
        let domain = if self.family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
        let socket = socket2::Socket::new(domain, Type::DGRAM, None)?;
        if self.family == Family::V6 {
            socket.set_only_v6(true)?;
        }
        self.options.apply(&SockRef::from(&socket), self.family, false);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        HostSocket::from_std(StdUdpSocket::from(socket))
    }
}

impl Sockets<'_> {
    fn udp(&mut self, this: &Resource<UdpSocket>) -> Result<&mut Socket> {
        Ok(self.table.get_mut(&own::<_, Socket>(this))?)
    }

    fn set_udp(
        &mut self,
        this: &Resource<UdpSocket>,
        set: impl FnOnce(&mut Options) -> Result<()>,
    ) -> Result<()> {
        let socket = self.udp(this)?;
        set(&mut socket.options)?;
        for own in socket.bound.iter().flat_map(|bound| &bound.sockets) {
            socket.options.apply(&SockRef::from(&**own), socket.family, false);
        }
        Ok(())
    }
}

impl udp_create_socket::Host for Sockets<'_> {
    async fn create_udp_socket(&mut self, family: IpAddressFamily) -> Result<Resource<UdpSocket>> {
        if self.net.needs.is_nothing() {
            return Err(ErrorCode::AccessDenied.into());
        }
        let room = self.net.room().ok_or(ErrorCode::NewSocketLimit)?;
        let socket = Socket {
            family: family.into(),
            options: Options::default(),
            bound: None,
            pending: false,
            remote: None,
            room: Arc::new(room),
        };
        Ok(given(&self.table.push(socket)?))
    }
}

impl udp::Host for Sockets<'_> {}

impl udp::HostUdpSocket for Sockets<'_> {
    async fn start_bind(
        &mut self,
        this: Resource<UdpSocket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> Result<()> {
        self.check(&network)?;
        let net = Arc::clone(self.net);
        let socket = self.udp(&this)?;
        if socket.pending {
            return Err(ErrorCode::ConcurrencyConflict.into());
        }
        socket.bind(&net, address.into())?;
        socket.pending = true;
        Ok(())
    }

    fn finish_bind(&mut self, this: Resource<UdpSocket>) -> Result<()> {
        let socket = self.udp(&this)?;
        if !std::mem::take(&mut socket.pending) {
            return Err(ErrorCode::NotInProgress.into());
        }
        Ok(())
    }

    async fn stream(
        &mut self,
        this: Resource<UdpSocket>,
        remote: Option<IpSocketAddress>,
    ) -> Result<(Resource<IncomingDatagramStream>, Resource<OutgoingDatagramStream>)> {
        let parent = own::<_, Socket>(&this);
        let in_use = self
            .table
            .iter_children(&parent)?
            .any(|child| child.is::<Incoming>() || child.is::<Outgoing>());
        if in_use {
            return Err(SocketError::trap(wasmtime::format_err!("UDP streams not dropped yet")));
        }
        let socket = self.udp(&this)?;
        let bound = socket.bound.clone().ok_or(ErrorCode::InvalidState)?;
        let remote = remote.map(SocketAddr::from);
        if let Some(remote) = remote {
            bound.check(remote)?;
        }
        socket.remote = remote;
        let incoming = Incoming(Arc::clone(&bound), remote);
        let incoming = self.table.push_child(incoming, &parent)?;
        let outgoing = Outgoing { bound, remote, permitted: 0 };
        let outgoing = self.table.push_child(outgoing, &parent)?;
        Ok((given(&incoming), given(&outgoing)))
    }

    fn local_address(&mut self, this: Resource<UdpSocket>) -> Result<IpSocketAddress> {
        let bound = self.udp(&this)?.bound.as_ref().ok_or(ErrorCode::InvalidState)?;
        Ok(bound.local.into())
    }

    fn remote_address(&mut self, this: Resource<UdpSocket>) -> Result<IpSocketAddress> {
        Ok(self.udp(&this)?.remote.ok_or(ErrorCode::InvalidState)?.into())
    }

    fn address_family(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&own::<_, Socket>(&this))?.family.into())
    }

    fn unicast_hop_limit(&mut self, this: Resource<UdpSocket>) -> Result<u8> {
        Ok(self.udp(&this)?.options.hops())
    }

    fn set_unicast_hop_limit(&mut self, this: Resource<UdpSocket>, value: u8) -> Result<()> {
        self.set_udp(&this, |options| options.set_hops(value))
    }

    fn receive_buffer_size(&mut self, this: Resource<UdpSocket>) -> Result<u64> {
        Ok(self.udp(&this)?.options.receive_buffer())
    }

    fn set_receive_buffer_size(&mut self, this: Resource<UdpSocket>, value: u64) -> Result<()> {
        self.set_udp(&this, |options| options.set_receive_buffer(value))
    }

    fn send_buffer_size(&mut self, this: Resource<UdpSocket>) -> Result<u64> {
        Ok(self.udp(&this)?.options.send_buffer())
    }

    fn set_send_buffer_size(&mut self, this: Resource<UdpSocket>, value: u64) -> Result<()> {
        self.set_udp(&this, |options| options.set_send_buffer(value))
    }

    fn subscribe(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, own::<_, Socket>(&this))
    }

    fn drop(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<()> {
        self.table.delete(given::<_, Socket>(&this))?;
        Ok(())
    }
}

impl udp::HostIncomingDatagramStream for Sockets<'_> {
    fn receive(
        &mut self,
        this: Resource<IncomingDatagramStream>,
        max_results: u64,
    ) -> Result<Vec<IncomingDatagram>> {
        let incoming = self.table.get(&own::<_, Incoming>(&this))?;
        let most = usize::try_from(max_results).unwrap_or(usize::MAX).min(MAX_DATAGRAMS);
        let mut datagrams = Vec::new();
        while datagrams.len() < most {
            match incoming.0.receive(incoming.1) {
                Ok((data, peer)) => {
                    datagrams.push(IncomingDatagram { data, remote_address: peer.into() });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // It is told when nothing comes before it.
                Err(_) if !datagrams.is_empty() => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(datagrams)
    }

    fn subscribe(
        &mut self,
        this: Resource<IncomingDatagramStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, own::<_, Incoming>(&this))
    }

    fn drop(&mut self, this: Resource<IncomingDatagramStream>) -> wasmtime::Result<()> {
        self.table.delete(given::<_, Incoming>(&this))?;
        Ok(())
    }
}

impl udp::HostOutgoingDatagramStream for Sockets<'_> {
    fn check_send(&mut self, this: Resource<OutgoingDatagramStream>) -> Result<u64> {
        let outgoing = self.table.get_mut(&own::<_, Outgoing>(&this))?;
        outgoing.permitted = MAX_DATAGRAMS;
        Ok(MAX_DATAGRAMS as u64)
    }

    fn send(
        &mut self,
        this: Resource<OutgoingDatagramStream>,
        datagrams: Vec<OutgoingDatagram>,
    ) -> Result<u64> {
        let outgoing = self.table.get_mut(&own::<_, Outgoing>(&this))?;
        if datagrams.len() > outgoing.permitted {
            return Err(SocketError::trap(wasmtime::format_err!("sent without permission")));
        }
        if !datagrams.is_empty() {
            outgoing.permitted = 0;
        }
        let mut sent = 0;
        for datagram in datagrams {
            let asked = datagram.remote_address.map(SocketAddr::from);
            let peer = match (asked, outgoing.remote) {
                (Some(asked), Some(remote)) if asked != remote => {
                    Err(ErrorCode::InvalidArgument.into())
                }
                (asked, remote) => asked.or(remote).ok_or(ErrorCode::InvalidArgument.into()),
            };
            match peer.and_then(|peer| outgoing.bound.send(&datagram.data, peer)) {
                Ok(()) => sent += 1,
                // What was sent before is told; the same again says what is wrong.
                Err(_) if sent > 0 => break,
                Err(error) => match error.downcast_ref() {
                    Some(ErrorCode::WouldBlock) => break,
                    _ => return Err(error),
                },
            }
        }
        Ok(sent)
    }

    fn subscribe(
        &mut self,
        this: Resource<OutgoingDatagramStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, own::<_, Outgoing>(&this))
    }

    async fn drop(&mut self, this: Resource<OutgoingDatagramStream>) -> wasmtime::Result<()> {
        self.table.delete(given::<_, Outgoing>(&this))?;
        Ok(())
    }
}
