//! Published ports as open files, for programs for WASI 0.1: they cannot make sockets, and accept at
//! those that they were given.
//!
//! The adapter (`compile/adapter.rs`) knows files only. To it a port is a directory that is open when the
//! program starts, to accept is to open something in it, and to shut a connection down is to set its size.

use std::{
    future::poll_fn,
    io,
    net::Shutdown,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use silo_isolation::Protocol;
use tokio::net::{TcpListener, TcpStream};
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};

use super::{
    ErrorCode, FilesystemView, FsError, Result,
    descriptor::{Descriptor, Object},
    types::{DescriptorFlags, Filesize, HostDescriptor as _, OpenFlags, PathFlags},
};
use crate::network::{Claim, Net, sockets::Connection};

/// As the interface is called here.
const TYPES: &str = "wasi:filesystem/types@0.2.12";

/// A published port.
#[derive(Clone)]
pub(super) struct Listener {
    net: Arc<Net>,
    sockets: Vec<Arc<TcpListener>>,
    _claim: Arc<Claim>,
}

/// How many ports a program is given: descriptors from 3 on.
pub(crate) fn count(net: &Net) -> usize {
    guest_ports(net).len()
}

/// The published ports of the guest, each once, in the order in which they were asked for.
fn guest_ports(net: &Net) -> Vec<u16> {
    let mut ports = Vec::new();
    for publication in net.publications() {
        let is_new = !ports.contains(&publication.guest_port);
        if publication.protocol == Protocol::Tcp && is_new {
            ports.push(publication.guest_port);
        }
    }
    ports
}

impl FilesystemView<'_> {
    /// The ports that the guest is given, by names that are no paths.
    pub(super) fn listeners(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let mut open = Vec::new();
        let Some(net) = self.listens else { return Ok(open) };
        for port in guest_ports(net) {
            let Some(Ok(claim)) = net.claim(Protocol::Tcp, port) else {
                wasmtime::bail!("port {port} is another instance's");
            };
            let sockets = claim.listen()?;
            let listener = Listener { net: Arc::clone(net), sockets, _claim: Arc::new(claim) };
            let descriptor = Descriptor {
                object: Object::Listener(listener),
                flags: DescriptorFlags::READ,
                listing: None,
            };
            open.push((self.table.push(descriptor)?, format!("tcp:{port}")));
        }
        Ok(open)
    }
}

impl Listener {
    fn poll(&self, context: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        for socket in &self.sockets {
            if let Poll::Ready(accepted) = socket.poll_accept(context) {
                return Poll::Ready(accepted.map(|(stream, _)| stream));
            }
        }
        Poll::Pending
    }

    async fn accept(&self, waits: bool) -> Result<Descriptor, ErrorCode> {
        let room = self.net.room().ok_or(ErrorCode::InsufficientMemory)?;
        let accepted = if waits {
            poll_fn(|context| self.poll(context)).await
        } else {
            match self.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(accepted) => accepted,
                Poll::Pending => return Err(ErrorCode::WouldBlock),
            }
        };
        let stream = accepted.map_err(|_| ErrorCode::Io)?;
        Ok(Descriptor {
            object: Object::Connection(Connection::new(stream, room)),
            flags: DescriptorFlags::READ | DescriptorFlags::WRITE,
            listing: None,
        })
    }
}

/// `sock_shutdown`, whose argument comes as a size.
pub(super) fn shut_down(connection: &Connection, how: Filesize) -> Result<()> {
    let how = match how {
        1 => Shutdown::Read,
        2 => Shutdown::Write,
        3 => Shutdown::Both,
        _ => return Err(ErrorCode::Invalid.into()),
    };
    connection.shutdown(how).map_err(|_| ErrorCode::Io.into())
}

type Opened = Result<Resource<Descriptor>, ErrorCode>;

/// Replaces `open-at` by one that also accepts, which can take time.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> FilesystemView<'_>,
) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker
        .instance(TYPES)?
        .func_wrap_async("[method]descriptor.open-at", move |store, parameters| {
            Box::new(open_at(store, view, parameters))
        })?;
    linker.allow_shadowing(false);
    Ok(())
}

async fn open_at<T: Send + 'static>(
    mut store: StoreContextMut<'_, T>,
    view: fn(&mut T) -> FilesystemView<'_>,
    parameters: (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags),
) -> wasmtime::Result<(Opened,)> {
    let (fd, path_flags, path, open_flags, flags) = parameters;
    let listener = match &view(store.data_mut()).table.get(&fd)?.object {
        Object::Listener(listener) => Some(listener.clone()),
        _ => None,
    };
    let opened = match listener {
        None => view(store.data_mut()).open_at(fd, path_flags, path, open_flags, flags),
        // By this the adapter says that a connection is not to be waited for.
        Some(listener) => match listener.accept(!open_flags.contains(OpenFlags::EXCLUSIVE)).await {
            Ok(connection) => Ok(view(store.data_mut()).table.push(connection)?),
            Err(code) => Err(code.into()),
        },
    };
    match opened {
        Ok(descriptor) => Ok((Ok(descriptor),)),
        Err(FsError::Code(code)) => Ok((Err(code),)),
        Err(FsError::Trap(error)) => Err(error),
    }
}
