//! `wasi:sockets` over a guest's [`Net`].
//!
//! The types of wasmtime-wasi's bindings name the handles; what the table holds under them is of here.
//! A socket of the guest has one of the host only once it needs one: for a published port it is one that
//! was there before.

mod lookup;
mod options;
mod streams;
mod tcp;
mod udp;

pub(crate) use streams::Connection;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::{
    SocketError,
    bindings::{
        LinkOptions,
        sockets::{
            instance_network, ip_name_lookup,
            network::{self, ErrorCode, IpAddressFamily},
            tcp as tcp_bindings, tcp_create_socket, udp as udp_bindings, udp_create_socket,
        },
    },
};

use super::Net;

/// What the functions of `wasi:sockets` see of a guest.
pub(crate) struct Sockets<'a> {
    pub(crate) net: &'a Arc<Net>,
    pub(crate) table: &'a mut ResourceTable,
}

struct HasSockets;

impl HasData for HasSockets {
    type Data<'a> = Sockets<'a>;
}

/// Defines `wasi:sockets`.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> Sockets<'_>,
) -> wasmtime::Result<()> {
    let options = LinkOptions::default();
    instance_network::add_to_linker::<T, HasSockets>(linker, get)?;
    network::add_to_linker::<T, HasSockets>(linker, &(&options).into(), get)?;
    ip_name_lookup::add_to_linker::<T, HasSockets>(linker, get)?;
    tcp_create_socket::add_to_linker::<T, HasSockets>(linker, get)?;
    tcp_bindings::add_to_linker::<T, HasSockets>(linker, get)?;
    udp_create_socket::add_to_linker::<T, HasSockets>(linker, get)?;
    udp_bindings::add_to_linker::<T, HasSockets>(linker, get)
}

type Result<T, E = SocketError> = std::result::Result<T, E>;

/// A borrowed handle as what the table has under it.
fn own<A: 'static, B: 'static>(handle: &Resource<A>) -> Resource<B> {
    Resource::new_borrow(handle.rep())
}

/// A handle that is given away, by another name.
fn given<A: 'static, B: 'static>(handle: &Resource<A>) -> Resource<B> {
    Resource::new_own(handle.rep())
}

/// The only network that a guest has: all is decided elsewhere.
struct TheNetwork;

impl instance_network::Host for Sockets<'_> {
    fn instance_network(&mut self) -> wasmtime::Result<Resource<network::Network>> {
        Ok(given(&self.table.push(TheNetwork)?))
    }
}

impl network::HostNetwork for Sockets<'_> {
    fn drop(&mut self, this: Resource<network::Network>) -> wasmtime::Result<()> {
        self.table.delete(given::<_, TheNetwork>(&this))?;
        Ok(())
    }
}

impl network::Host for Sockets<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        let error = self.table.get(&error)?;
        Ok(error.downcast_ref::<std::io::Error>().map(ErrorCode::from))
    }
}

impl Sockets<'_> {
    /// That `network` is a handle of one.
    fn check(&self, network: &Resource<network::Network>) -> Result<()> {
        self.table.get(&own::<_, TheNetwork>(network))?;
        Ok(())
    }
}

/// A socket's kind of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl From<IpAddressFamily> for Family {
    fn from(family: IpAddressFamily) -> Self {
        match family {
            IpAddressFamily::Ipv4 => Self::V4,
            IpAddressFamily::Ipv6 => Self::V6,
        }
    }
}

impl From<Family> for IpAddressFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => Self::Ipv4,
            Family::V6 => Self::Ipv6,
        }
    }
}

impl Family {
    /// Whether a socket of this family can have to do with `address`. Those of IPv4 as IPv6 writes them
    /// are of neither.
    fn has(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4, IpAddr::V4(_)) => true,
            (Self::V6, IpAddr::V6(address)) => address.to_ipv4_mapped().is_none(),
            _ => false,
        }
    }

    /// Checks an address that a socket is to be bound to.
    fn check_local(self, address: SocketAddr) -> Result<()> {
        if self.has(address.ip()) && !address.ip().is_multicast() {
            return Ok(());
        }
        Err(ErrorCode::InvalidArgument.into())
    }

    /// Checks the address of another end.
    fn check_remote(self, address: SocketAddr) -> Result<()> {
        let ip = address.ip();
        if self.has(ip) && !ip.is_unspecified() && !ip.is_multicast() && address.port() != 0 {
            return Ok(());
        }
        Err(ErrorCode::InvalidArgument.into())
    }

    /// No address in particular.
    fn unspecified(self, port: u16) -> SocketAddr {
        match self {
            Self::V4 => (Ipv4Addr::UNSPECIFIED, port).into(),
            Self::V6 => (Ipv6Addr::UNSPECIFIED, port).into(),
        }
    }

    /// The address of a peer as a socket of this family can name it. The port of the host may be of the
    /// other: an IPv6 peer has no name in IPv4.
    fn shown(self, peer: SocketAddr) -> SocketAddr {
        match (self, peer.ip().to_canonical()) {
            (Self::V4, IpAddr::V4(address)) => (address, peer.port()).into(),
            (Self::V4, IpAddr::V6(_)) => (Ipv4Addr::UNSPECIFIED, peer.port()).into(),
            (Self::V6, IpAddr::V4(address)) => (address.to_ipv6_mapped(), peer.port()).into(),
            (Self::V6, IpAddr::V6(_)) => peer,
        }
    }
}

/// Whether `address` is one that a guest without a network of the host can bind: it has no others.
fn is_own(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_loopback()
}
