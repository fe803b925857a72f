//! `wasi:sockets/tcp`.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use silo_isolation::Protocol;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket as HostSocket, TcpStream};
use wasmtime::component::Resource;
use wasmtime_wasi::{
    p2::bindings::sockets::{
        network::{ErrorCode, IpAddressFamily, IpSocketAddress, Network},
        tcp::{self, ShutdownType, TcpSocket},
        tcp_create_socket,
    },
    runtime::{AbortOnDropJoinHandle, spawn},
};
use wasmtime_wasi_io::{
    poll::{DynPollable, Pollable, subscribe},
    streams::{DynInputStream, DynOutputStream},
};

use super::{Family, Result, Sockets, given, is_own, options::Options, own, streams::Connection};
use crate::network::{Claim, Net, Room};

/// A socket of the guest.
pub(super) struct Socket {
    family: Family,
    options: Options,
    backlog: u32,
    state: State,
    /// What was started and not finished.
    pending: Option<Operation>,
    room: Option<Room>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Bind,
    Listen,
    Connect,
}

enum State {
    New,
    /// Bound to a published port, which is at the host since before the guest started.
    Published(Claim, SocketAddr),
    /// Bound on the host; whether it may listen there.
    Bound(HostSocket, bool),
    Connecting(Attempt),
    Connected(Connection, Ends),
    Listening(Listener),
    Closed,
}

/// The addresses of a connection as the guest sees them.
#[derive(Clone, Copy)]
struct Ends {
    local: SocketAddr,
    remote: SocketAddr,
}

enum Attempt {
    Made(AbortOnDropJoinHandle<io::Result<TcpStream>>),
    Ended(io::Result<TcpStream>),
}

struct Listener {
    /// One for each address at which the port is published.
    sockets: Vec<Arc<TcpListener>>,
    local: Option<SocketAddr>,
    /// Who was found waiting when the guest was.
    next: Option<io::Result<(TcpStream, SocketAddr)>>,
    _claim: Option<Claim>,
}

impl Listener {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.next.is_some() {
            return Poll::Ready(());
        }
        for socket in &self.sockets {
            if let Poll::Ready(accepted) = socket.poll_accept(context) {
                self.next = Some(accepted);
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    fn local(&self) -> io::Result<SocketAddr> {
        match (self.local, self.sockets.first()) {
            (Some(local), _) => Ok(local),
            (None, Some(socket)) => socket.local_addr(),
            (None, None) => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Socket {
    async fn ready(&mut self) {
        match &mut self.state {
            State::Connecting(attempt) => {
                if let Attempt::Made(made) = attempt {
                    *attempt = Attempt::Ended((&mut *made).await);
                }
            }
            State::Listening(listener) if self.pending.is_none() => {
                poll_fn(|context| listener.poll(context)).await;
            }
            _ => {}
        }
    }
}

impl Socket {
    fn bind(&mut self, net: &Arc<Net>, address: SocketAddr) -> Result<()> {
        if !matches!(self.state, State::New) {
            return Err(ErrorCode::InvalidState.into());
        }
        self.family.check_local(address)?;
        let claim = match address.port() {
            0 => None,
            port => net.claim(Protocol::Tcp, port),
        };
        self.state = match claim {
            Some(_) if !is_own(address.ip()) && !net.policy.may_listen() => {
                return Err(ErrorCode::AddressNotBindable.into());
            }
            Some(Err(_taken)) => return Err(ErrorCode::AddressInUse.into()),
            Some(Ok(claim)) => State::Published(claim, address),
            None if net.policy.may_listen() => State::Bound(self.make(Some(address))?, true),
            // Where from it connects is nobody's business but the host's.
            None if address.port() == 0 && net.policy.reaches_anyone() => {
                let any = self.family.unspecified(0);
                State::Bound(self.make(Some(any))?, false)
            }
            None => return Err(ErrorCode::AccessDenied.into()),
        };
        Ok(())
    }

    /// A socket of the host.
    fn make(&self, address: Option<SocketAddr>) -> io::Result<HostSocket> {
        let socket = match self.family {
            Family::V4 => HostSocket::new_v4()?,
            Family::V6 => HostSocket::new_v6()?,
        };
        if self.family == Family::V6 {
            SockRef::from(&socket).set_only_v6(true)?;
        }
        self.options.apply(&SockRef::from(&socket), self.family, true);
        if let Some(address) = address {
            // On Windows it means another thing.
            #[cfg(unix)]
            socket.set_reuseaddr(address.port() != 0)?;
            socket.bind(address)?;
        }
        Ok(socket)
    }

    fn connect(&mut self, net: &Net, remote: SocketAddr) -> Result<()> {
        if !matches!(self.state, State::New | State::Bound(..)) {
            return Err(ErrorCode::InvalidState.into());
        }
        self.family.check_remote(remote)?;
        if !net.policy.may_reach(Protocol::Tcp, remote) {
            return Err(ErrorCode::AccessDenied.into());
        }
        let socket = match std::mem::replace(&mut self.state, State::Closed) {
            State::Bound(socket, _) => socket,
            _ => self.make(None)?,
        };
        self.state = State::Connecting(Attempt::Made(spawn(socket.connect(remote))));
        Ok(())
    }

    fn finish_connect(&mut self) -> Result<Connection> {
        let State::Connecting(attempt) = &mut self.state else {
            return Err(ErrorCode::NotInProgress.into());
        };
        if let Attempt::Made(made) = attempt {
            let mut context = Context::from_waker(Waker::noop());
            match std::pin::Pin::new(made).poll(&mut context) {
                Poll::Ready(ended) => *attempt = Attempt::Ended(ended),
                Poll::Pending => return Err(ErrorCode::WouldBlock.into()),
            }
        }
        self.pending = None;
        let State::Connecting(Attempt::Ended(ended)) =
            std::mem::replace(&mut self.state, State::Closed)
        else {
            return Err(ErrorCode::InvalidState.into());
        };
        let (stream, room) = (ended?, self.room.take().ok_or(ErrorCode::InvalidState)?);
        let ends = Ends { local: stream.local_addr()?, remote: stream.peer_addr()? };
        let connection = Connection::new(stream, room);
        self.state = State::Connected(connection.clone(), ends);
        Ok(connection)
    }

    fn listen(&mut self) -> Result<()> {
        let listener = match std::mem::replace(&mut self.state, State::Closed) {
            State::Published(claim, local) => Listener {
                sockets: claim.listen()?,
                local: Some(local),
                next: None,
                _claim: Some(claim),
            },
            State::Bound(socket, true) => Listener {
                sockets: vec![Arc::new(socket.listen(self.backlog)?)],
                local: None,
                next: None,
                _claim: None,
            },
            bound @ State::Bound(_, false) => {
                self.state = bound;
                return Err(ErrorCode::AccessDenied.into());
            }
            other => {
                self.state = other;
                return Err(ErrorCode::InvalidState.into());
            }
        };
        self.state = State::Listening(listener);
        Ok(())
    }

    fn accept(&mut self, net: &Arc<Net>) -> Result<(Self, Connection)> {
        let State::Listening(listener) = &mut self.state else {
            return Err(ErrorCode::InvalidState.into());
        };
        if listener.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Err(ErrorCode::WouldBlock.into());
        }
        // Who is waiting goes on waiting.
        let room = net.room().ok_or(ErrorCode::NewSocketLimit)?;
        let (stream, peer) = listener.next.take().ok_or(ErrorCode::WouldBlock)??;
        self.options.apply(&SockRef::from(&stream), self.family, true);
        let remote = self.family.shown(peer);
        let local = match listener.local {
            Some(local) => local,
            None => stream.local_addr()?,
        };
        let connection = Connection::new(stream, room);
        let state = State::Connected(connection.clone(), Ends { local, remote });
        let accepted = Self {
            family: self.family,
            options: self.options,
            backlog: self.backlog,
            state,
            pending: None,
            room: None,
        };
        Ok((accepted, connection))
    }

    fn local(&self) -> Result<SocketAddr> {
        match &self.state {
            State::Published(_, local) => Ok(*local),
            State::Bound(socket, _) => Ok(socket.local_addr()?),
            State::Connected(_, ends) => Ok(ends.local),
            State::Listening(listener) => Ok(listener.local()?),
            State::New | State::Connecting(_) | State::Closed => {
                Err(ErrorCode::InvalidState.into())
            }
        }
    }

    fn start(&mut self, operation: Operation) -> Result<()> {
        if self.pending.is_some() {
            return Err(ErrorCode::ConcurrencyConflict.into());
        }
        self.pending = Some(operation);
        Ok(())
    }

    fn finish(&mut self, operation: Operation) -> Result<()> {
        if self.pending != Some(operation) {
            return Err(ErrorCode::NotInProgress.into());
        }
        self.pending = None;
        Ok(())
    }

    /// Sets on the host's socket what the guest set.
    fn update(&self) {
        match &self.state {
            State::Bound(socket, _) => {
                self.options.apply(&SockRef::from(socket), self.family, true);
            }
            State::Connected(connection, _) => {
                self.options.apply(&SockRef::from(&*connection.stream), self.family, true);
            }
            _ => {}
        }
    }
}

impl Sockets<'_> {
    fn tcp(&mut self, this: &Resource<TcpSocket>) -> Result<&mut Socket> {
        Ok(self.table.get_mut(&own::<_, Socket>(this))?)
    }

    fn set_tcp(
        &mut self,
        this: &Resource<TcpSocket>,
        set: impl FnOnce(&mut Options) -> Result<()>,
    ) -> Result<()> {
        let socket = self.tcp(this)?;
        set(&mut socket.options)?;
        socket.update();
        Ok(())
    }

    fn streams(
        &mut self,
        parent: &Resource<Socket>,
        connection: &Connection,
    ) -> Result<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let input = self.table.push_child(connection.input(), parent)?;
        let output = self.table.push_child(connection.output(), parent)?;
        Ok((input, output))
    }
}

impl tcp_create_socket::Host for Sockets<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> Result<Resource<TcpSocket>> {
        if self.net.needs.is_nothing() {
            return Err(ErrorCode::AccessDenied.into());
        }
        let room = self.net.room().ok_or(ErrorCode::NewSocketLimit)?;
        let socket = Socket {
            family: family.into(),
            options: Options::default(),
            backlog: 128,
            state: State::New,
            pending: None,
            room: Some(room),
        };
        Ok(given(&self.table.push(socket)?))
    }
}

impl tcp::Host for Sockets<'_> {}

impl tcp::HostTcpSocket for Sockets<'_> {
    async fn start_bind(
        &mut self,
        this: Resource<TcpSocket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> Result<()> {
        self.check(&network)?;
        let net = Arc::clone(self.net);
        let socket = self.tcp(&this)?;
        if socket.pending.is_some() {
            return Err(ErrorCode::ConcurrencyConflict.into());
        }
        socket.bind(&net, address.into())?;
        socket.start(Operation::Bind)
    }

    fn finish_bind(&mut self, this: Resource<TcpSocket>) -> Result<()> {
        self.tcp(&this)?.finish(Operation::Bind)
    }

    fn start_connect(
        &mut self,
        this: Resource<TcpSocket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> Result<()> {
        self.check(&network)?;
        let net = Arc::clone(self.net);
        let socket = self.tcp(&this)?;
        if socket.pending.is_some() {
            return Err(ErrorCode::ConcurrencyConflict.into());
        }
        socket.connect(&net, address.into())?;
        socket.start(Operation::Connect)
    }

    fn finish_connect(
        &mut self,
        this: Resource<TcpSocket>,
    ) -> Result<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let socket = self.tcp(&this)?;
        if socket.pending != Some(Operation::Connect) {
            return Err(ErrorCode::NotInProgress.into());
        }
        let connection = socket.finish_connect()?;
        self.streams(&own(&this), &connection)
    }

    async fn start_listen(&mut self, this: Resource<TcpSocket>) -> Result<()> {
        let socket = self.tcp(&this)?;
        if socket.pending.is_some() {
            return Err(ErrorCode::ConcurrencyConflict.into());
        }
        socket.listen()?;
        socket.start(Operation::Listen)
    }

    fn finish_listen(&mut self, this: Resource<TcpSocket>) -> Result<()> {
        self.tcp(&this)?.finish(Operation::Listen)
    }

    fn accept(
        &mut self,
        this: Resource<TcpSocket>,
    ) -> Result<(Resource<TcpSocket>, Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let net = Arc::clone(self.net);
        let (accepted, connection) = self.tcp(&this)?.accept(&net)?;
        let accepted = self.table.push(accepted)?;
        let (input, output) = self.streams(&accepted, &connection)?;
        Ok((given(&accepted), input, output))
    }

    fn local_address(&mut self, this: Resource<TcpSocket>) -> Result<IpSocketAddress> {
        Ok(self.tcp(&this)?.local()?.into())
    }

    fn remote_address(&mut self, this: Resource<TcpSocket>) -> Result<IpSocketAddress> {
        match &self.tcp(&this)?.state {
            State::Connected(_, ends) => Ok(ends.remote.into()),
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn is_listening(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<bool> {
        let socket = self.table.get(&own::<_, Socket>(&this))?;
        Ok(matches!(socket.state, State::Listening(_)))
    }

    fn address_family(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&own::<_, Socket>(&this))?.family.into())
    }

    fn set_listen_backlog_size(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<()> {
        if value == 0 {
            return Err(ErrorCode::InvalidArgument.into());
        }
        let socket = self.tcp(&this)?;
        match socket.state {
            State::Connecting(_) | State::Connected(..) | State::Closed => {
                Err(ErrorCode::InvalidState.into())
            }
            State::Listening(_) => Err(ErrorCode::NotSupported.into()),
            State::New | State::Published(..) | State::Bound(..) => {
                socket.backlog = u32::try_from(value).unwrap_or(u32::MAX).min(4096);
                Ok(())
            }
        }
    }

    fn keep_alive_enabled(&mut self, this: Resource<TcpSocket>) -> Result<bool> {
        Ok(self.tcp(&this)?.options.keep_alive)
    }

    fn set_keep_alive_enabled(&mut self, this: Resource<TcpSocket>, value: bool) -> Result<()> {
        self.set_tcp(&this, |options| {
            options.keep_alive = value;
            Ok(())
        })
    }

    fn keep_alive_idle_time(&mut self, this: Resource<TcpSocket>) -> Result<u64> {
        Ok(self.tcp(&this)?.options.idle())
    }

    fn set_keep_alive_idle_time(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<()> {
        self.set_tcp(&this, |options| options.set_idle(value))
    }

    fn keep_alive_interval(&mut self, this: Resource<TcpSocket>) -> Result<u64> {
        Ok(self.tcp(&this)?.options.interval())
    }

    fn set_keep_alive_interval(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<()> {
        self.set_tcp(&this, |options| options.set_interval(value))
    }

    fn keep_alive_count(&mut self, this: Resource<TcpSocket>) -> Result<u32> {
        Ok(self.tcp(&this)?.options.count())
    }

    fn set_keep_alive_count(&mut self, this: Resource<TcpSocket>, value: u32) -> Result<()> {
        self.set_tcp(&this, |options| options.set_count(value))
    }

    fn hop_limit(&mut self, this: Resource<TcpSocket>) -> Result<u8> {
        Ok(self.tcp(&this)?.options.hops())
    }

    fn set_hop_limit(&mut self, this: Resource<TcpSocket>, value: u8) -> Result<()> {
        self.set_tcp(&this, |options| options.set_hops(value))
    }

    fn receive_buffer_size(&mut self, this: Resource<TcpSocket>) -> Result<u64> {
        Ok(self.tcp(&this)?.options.receive_buffer())
    }

    fn set_receive_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<()> {
        self.set_tcp(&this, |options| options.set_receive_buffer(value))
    }

    fn send_buffer_size(&mut self, this: Resource<TcpSocket>) -> Result<u64> {
        Ok(self.tcp(&this)?.options.send_buffer())
    }

    fn set_send_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<()> {
        self.set_tcp(&this, |options| options.set_send_buffer(value))
    }

    fn subscribe(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, own::<_, Socket>(&this))
    }

    fn shutdown(&mut self, this: Resource<TcpSocket>, how: ShutdownType) -> Result<()> {
        match &self.tcp(&this)?.state {
            State::Connected(connection, _) => Ok(connection.shutdown(how.into())?),
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn drop(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<()> {
        self.table.delete(given::<_, Socket>(&this))?;
        Ok(())
    }
}
