//! `wasi:sockets/ip-name-lookup`.

use std::{net::IpAddr, vec};

use wasmtime::component::Resource;
use wasmtime_wasi::{
    p2::bindings::sockets::{
        ip_name_lookup::{self, ResolveAddressStream},
        network::{ErrorCode, IpAddress, Network},
    },
    runtime::{AbortOnDropJoinHandle, spawn_blocking},
};
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use super::{Result, Sockets, given, own};
use crate::network::NameError;

type Answer = Result<Vec<IpAddr>, NameError>;

/// The addresses of a name, as they come.
enum Addresses {
    Asked(AbortOnDropJoinHandle<Answer>),
    Known(Result<vec::IntoIter<IpAddr>, NameError>),
}

impl From<NameError> for ErrorCode {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Denied => Self::AccessDenied,
            NameError::Invalid => Self::InvalidArgument,
            NameError::Unknown => Self::NameUnresolvable,
            NameError::TooMany => Self::TemporaryResolverFailure,
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {
        if let Self::Asked(answer) = self {
            *self = Self::Known((&mut *answer).await.map(Vec::into_iter));
        }
    }
}

impl ip_name_lookup::Host for Sockets<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Resource<ResolveAddressStream>> {
        self.check(&network)?;
        let policy = &self.net.policy;
        let addresses = if let Some(answer) = policy.known(&name) {
            Addresses::Known(Ok(answer.map_err(ErrorCode::from)?.into_iter()))
        } else {
            let net = std::sync::Arc::clone(self.net);
            Addresses::Asked(spawn_blocking(move || net.policy.look_up(&name)))
        };
        Ok(given(&self.table.push(addresses)?))
    }
}

impl ip_name_lookup::HostResolveAddressStream for Sockets<'_> {
    fn resolve_next_address(
        &mut self,
        this: Resource<ResolveAddressStream>,
    ) -> Result<Option<IpAddress>> {
        let addresses = self.table.get_mut(&own::<_, Addresses>(&this))?;
        if let Addresses::Asked(answer) = addresses {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            match std::pin::Pin::new(answer).poll(&mut context) {
                std::task::Poll::Ready(answer) => {
                    *addresses = Addresses::Known(answer.map(Vec::into_iter));
                }
                std::task::Poll::Pending => return Err(ErrorCode::WouldBlock.into()),
            }
        }
        match addresses {
            Addresses::Known(Ok(left)) => Ok(left.next().map(IpAddress::from)),
            Addresses::Known(Err(error)) => Err(ErrorCode::from(*error).into()),
            Addresses::Asked(_) => Err(ErrorCode::WouldBlock.into()),
        }
    }

    fn subscribe(
        &mut self,
        this: Resource<ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, own::<_, Addresses>(&this))
    }

    fn drop(&mut self, this: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        self.table.delete(given::<_, Addresses>(&this))?;
        Ok(())
    }
}
