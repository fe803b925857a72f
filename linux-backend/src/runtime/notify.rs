//! Telling systemd, or whoever started this program and asked for it, that a container is ready
//! (`sd_notify(3)`): what its program says into a socket of its own is passed on.

use std::{
    fs, io,
    io::{IoSlice, Read as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, net::UnixDatagram},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use oci_spec::runtime::{MountBuilder, Spec};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
        SocketType,
    },
};

use super::{Error, Result, Runtime, record::Directory};

/// Where it is in the container, as runc has it.
const INSIDE: &str = "/run/notify";
const NAME: &str = "notify.sock";
/// How long the one who is told may take to have read it.
const BARRIER: Duration = Duration::from_secs(30);

/// Adds to `spec` the directory of the socket, and where its program finds it.
pub(super) fn add(spec: &mut Spec, directory: &Path) -> Result<()> {
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned);
    let mount = MountBuilder::default().destination(INSIDE).source(directory).options(options);
    let mount = mount.build().map_err(|error| Error::config("mounts", error.to_string()))?;
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.push(mount);
    spec.set_mounts(Some(mounts));
    add_variables(spec, [format!("NOTIFY_SOCKET={INSIDE}/{NAME}")]);
    Ok(())
}

/// Adds variables to the environment of the container's program.
pub(super) fn add_variables(spec: &mut Spec, variables: impl IntoIterator<Item = String>) {
    if let Some(process) = spec.process_mut() {
        let mut env = process.env().clone().unwrap_or_default();
        env.extend(variables);
        process.set_env(Some(env));
    }
}

/// A socket that a container's program tells things, and who is to hear of them.
#[derive(Debug)]
pub struct Notifications {
    socket: UnixDatagram,
    host: PathBuf,
    /// The container's first process.
    process: OwnedFd,
    pid: i32,
}

impl Runtime {
    /// Listens to what the created container `id` will say, for whoever listens at `host`.
    pub fn notifications(&self, id: &str, host: &Path) -> Result<Option<Notifications>> {
        let directory = Directory::of(&self.root, id)?;
        let record = directory.read(id)?;
        let path = directory.notifications();
        // It was made without.
        if !path.exists() {
            return Ok(None);
        }
        let process = record.process()?;
        // A path may be longer than the address of a socket.
        let handle = fs::File::open(&path).map_err(Error::file("open", &path))?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&handle);
        let address = PathBuf::from(format!("/proc/self/fd/{number}/{NAME}"));
        let socket = UnixDatagram::bind(&address).map_err(Error::file("listen at", &path))?;
        // Whoever the program runs as.
        fs::set_permissions(&address, fs::Permissions::from_mode(0o777))
            .map_err(Error::file("permit the use of", &path))?;
        Ok(Some(Notifications { socket, host: host.to_owned(), process, pid: record.pid }))
    }
}

impl Notifications {
    /// Waits until the program says that it is ready, and passes that on with the number of the process
    /// that is now to be watched. Nothing where the container ends before.
    pub fn forward(&self) -> Result<()> {
        loop {
            let mut events = [
                PollFd::new(&self.socket, PollFlags::IN),
                PollFd::new(&self.process, PollFlags::IN),
            ];
            match rustix::event::poll(&mut events, None) {
                Err(rustix::io::Errno::INTR) => continue,
                polled => polled.map_err(Error::step("wait for the container to be ready"))?,
            };
            if events[0].revents().is_empty() {
                return Ok(());
            }
            let mut said = [0; 4096];
            let count = self.socket.recv(&mut said);
            let count = count.map_err(Error::step("read what the container says"))?;
            let said = said.get(..count).unwrap_or_default();
            if let Some(ready) =
                said.split(|byte| *byte == b'\n').find(|it| it.starts_with(b"READY="))
            {
                return self.tell(ready).map_err(Error::file("tell", &self.host));
            }
        }
    }

    fn tell(&self, ready: &[u8]) -> io::Result<()> {
        let address = match self.host.as_os_str().as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddrUnix::new_abstract_name(name)?,
            None => SocketAddrUnix::new(&self.host)?,
        };
        let (family, kind) = (AddressFamily::UNIX, SocketType::DGRAM);
        let flags = rustix::net::SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, kind, flags, None)?;
        rustix::net::connect(&socket, &address)?;
        let send = |text: &[u8]| rustix::net::send(&socket, text, SendFlags::NOSIGNAL);
        send(&[ready, b"\n"].concat())?;
        send(format!("MAINPID={}\n", self.pid).as_bytes())?;
        // It has read all of that once it closes what it is sent now (`sd_notify_barrier(3)`).
        let (reading, writing) = io::pipe()?;
        let passed = [writing.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&passed));
        let text = [IoSlice::new(b"BARRIER=1")];
        rustix::net::sendmsg(&socket, &text, &mut ancillary, SendFlags::NOSIGNAL)?;
        drop(writing);
        wait_for_end(reading)
    }
}

/// Waits until nobody has the other end. Who knows no barrier never lets go of it.
fn wait_for_end(mut reading: io::PipeReader) -> io::Result<()> {
    let end = Instant::now() + BARRIER;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match rustix::event::poll(&mut [PollFd::new(&reading, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(0) => return Ok(()),
            Ok(_) => return reading.read(&mut [0]).map(drop),
        }
    }
}
