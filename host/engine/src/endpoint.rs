//! Where a running container's supervisor listens.
//!
//! On Unix a socket in `ROOT/run`, a directory that only its owner may enter; on Windows a
//! named pipe whose name is made of the root's and the container's.

use std::{
    io,
    path::{Path, PathBuf},
};

use interprocess::local_socket::{Listener, ListenerOptions, Name, Stream, prelude::*};

use crate::{Error, Result, state};

/// One container's control socket.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    directory: PathBuf,
    file: String,
}

impl Endpoint {
    /// The endpoint of container `id` of the store at `root`.
    pub(crate) fn new(root: &Path, id: &str) -> Self {
        // Paths of sockets are short: 108 bytes on Linux, 104 on macOS (unix(7)).
        let file = id.get(..24).unwrap_or(id).to_owned();
        Self { directory: root.join("run"), file }
    }

    /// Listens. The caller holds the container's lock: a socket that is there is a dead one's.
    pub(crate) fn listen(&self) -> Result<Listener> {
        state::create_private_directory(&self.directory)?;
        self.remove()?;
        let listen =
            |name: Name<'_>| ListenerOptions::new().name(name).reclaim_name(false).create_sync();
        self.with_name(listen).map_err(Error::file("listen on", self.path()))
    }

    /// Connects to the supervisor.
    pub(crate) fn connect(&self) -> io::Result<Stream> {
        self.with_name(Stream::connect)
    }

    /// Whether there is a socket that its listener's death leaves.
    pub(crate) fn exists(&self) -> bool {
        cfg!(unix) && self.path().exists()
    }

    /// Removes the socket.
    pub(crate) fn remove(&self) -> Result<()> {
        if cfg!(unix) { state::remove_file(&self.path()) } else { Ok(()) }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(&self.file)
    }

    /// A path that is too long for a socket is entered by an open handle of its directory.
    #[cfg(target_os = "linux")]
    fn with_name<T>(&self, use_it: impl FnOnce(Name<'_>) -> io::Result<T>) -> io::Result<T> {
        use std::os::fd::AsRawFd as _;

        use interprocess::local_socket::GenericFilePath;
        let path = self.path();
        if path.as_os_str().len() < 108 {
            return use_it(path.to_fs_name::<GenericFilePath>()?);
        }
        let directory = std::fs::File::open(&self.directory)?;
        let path = format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), self.file);
        use_it(path.to_fs_name::<GenericFilePath>()?)
    }

    #[cfg(all(unix, not(target_os = "linux")))]
    fn with_name<T>(&self, use_it: impl FnOnce(Name<'_>) -> io::Result<T>) -> io::Result<T> {
        use interprocess::local_socket::GenericFilePath;
        use_it(self.path().to_fs_name::<GenericFilePath>()?)
    }

    #[cfg(windows)]
    fn with_name<T>(&self, use_it: impl FnOnce(Name<'_>) -> io::Result<T>) -> io::Result<T> {
        use interprocess::local_socket::GenericNamespaced;
        // The container's id is unique among all roots.
        let name = format!("silo-{}", self.file);
        use_it(name.to_ns_name::<GenericNamespaced>()?)
    }
}
