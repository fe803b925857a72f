//! The terminal of a container, and the socket that it is sent to.

use std::{
    io::IoSlice,
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use oci_spec::runtime::{Process, Spec};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use silo_isolation::TerminalSize;

use super::{CreateOptions, Error, Result};

/// What becomes of a process's terminal.
#[derive(Debug)]
pub(super) struct Console {
    size: Option<TerminalSize>,
    socket: Option<PathBuf>,
}

impl Console {
    pub(super) fn of(spec: &Spec, options: &CreateOptions) -> Result<Self> {
        let process = spec.process().as_ref();
        let process = process.ok_or_else(|| Error::config("process", "there is none to run"))?;
        Self::new(process, options.console_socket.clone(), options.detached)
    }

    pub(super) fn new(process: &Process, socket: Option<PathBuf>, detached: bool) -> Result<Self> {
        let wanted = process.terminal().unwrap_or(false);
        if wanted && detached && socket.is_none() {
            return Err(Error::Unsupported(
                "cannot allocate tty if silo will detach without setting console socket".to_owned(),
            ));
        }
        if !wanted && socket.is_some() {
            return Err(Error::Unsupported(
                "cannot use console socket if silo will not detach or allocate tty".to_owned(),
            ));
        }
        let dimension = |size: u64| u16::try_from(size).unwrap_or(u16::MAX);
        let size = process.console_size().map(|size| TerminalSize {
            rows: dimension(size.height()),
            columns: dimension(size.width()),
        });
        let default = TerminalSize { rows: 0, columns: 0 };
        Ok(Self { size: wanted.then(|| size.unwrap_or(default)), socket })
    }

    pub(super) const fn size(&self) -> Option<TerminalSize> {
        self.size
    }

    /// Sends the terminal where it belongs; gives it back where it belongs here.
    pub(super) fn give(&self, terminal: Option<OwnedFd>) -> Result<Option<OwnedFd>> {
        match (&self.socket, terminal) {
            (Some(socket), Some(terminal)) => send(socket, &terminal).map(|()| None),
            (_, terminal) => Ok(terminal),
        }
    }
}

/// Sends a terminal's master, as engines expect it: with its name.
fn send(socket: &Path, terminal: &OwnedFd) -> Result<()> {
    send_named(socket, terminal, b"/dev/ptmx")
}

/// Sends a descriptor, with a name for it.
pub(super) fn send_named(socket: &Path, descriptor: &OwnedFd, name: &[u8]) -> Result<()> {
    let failed = || Error::file("send a descriptor to", socket);
    // As in Go, whose programs listen there: a name that is none of a file.
    let address = match socket.as_os_str().as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name),
        None => SocketAddrUnix::new(socket),
    };
    let address = address.map_err(|errno| failed()(errno.into()))?;
    let flags = SocketFlags::CLOEXEC;
    let connection = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|errno| failed()(errno.into()))?;
    rustix::net::connect(&connection, &address).map_err(|errno| failed()(errno.into()))?;
    let descriptors = [descriptor.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let name = [IoSlice::new(name)];
    rustix::net::sendmsg(&connection, &name, &mut ancillary, SendFlags::NOSIGNAL)
        .map(drop)
        .map_err(|errno| failed()(errno.into()))
}
