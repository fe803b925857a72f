//! Copies between a container and the host.
//!
//! The files of a container that runs are its supervisor's to touch: this sends it an archive, or gets
//! one. Those of one that does not are read and written here, with its volumes where they would be.

use std::{
    io::{self, Write},
    path::Path,
};

use silo_isolation::{Mount, MountKind};
use silo_layers::{
    copy::{self, CopyError, CopyIn, GuestFiles as _, HostSource, Mounted, Volume},
    union::{Access, UnionFs},
};

use super::Engine;
use crate::{
    Container, CopyOptions, CopySource, CopyTarget, Error, Result, Summary, client::Connection,
};

impl Engine {
    /// Copies a container's `path` to the host, or writes it as an archive. Returns what could not be
    /// copied: sockets, fifos and devices.
    pub fn copy_from(
        &self,
        query: &str,
        path: &str,
        target: CopyTarget<'_>,
        options: CopyOptions,
    ) -> Result<Vec<String>> {
        let summary = self.inspect(query)?;
        let path = guest_path(path);
        let how = copy::CopyOut {
            follow: options.follow || path.ends_with('/') || path.ends_with("/."),
            owners: options.owners,
        };
        if let Some(connection) = self.connect_running(&summary)? {
            let mut archive = connection.copy_out(&summary.container.id, path.clone(), how)?;
            let taken = match target {
                CopyTarget::Path(host) => {
                    copy::unpack_host(&mut archive, &path, host, how.owners).map_err(Error::from)
                }
                CopyTarget::Archive(output) => pass_on(&mut archive, output),
            };
            let (skipped, more) = archive.finish(taken)?;
            return Ok([skipped, more].concat());
        }
        let files = open(&summary.container, &path, Access::ReadOnly)?;
        match target {
            CopyTarget::Path(host) => {
                let (skipped, more) = copy::transfer(
                    |output| files.copy_out(&path, how, output),
                    |archive| copy::unpack_host(archive, &path, host, how.owners),
                )?;
                Ok([skipped, more].concat())
            }
            CopyTarget::Archive(output) => Ok(files.copy_out(&path, how, output)?),
        }
    }

    /// Copies a file or directory of the host, or what an archive holds, to a container's `path`.
    /// Returns what could not be copied, as [`copy_from`](Self::copy_from) does.
    pub fn copy_to(
        &self,
        query: &str,
        source: CopySource<'_>,
        path: &str,
        options: CopyOptions,
    ) -> Result<Vec<String>> {
        let summary = self.inspect(query)?;
        let path = guest_path(path);
        if options.owners {
            copy::keeps_owners().map_err(|reason| CopyError::NoOwners { reason })?;
        }
        let connection = self.connect_running(&summary)?;
        match source {
            CopySource::Path(host) => {
                let host = HostSource::open(host, options.follow)?;
                let what = CopyIn { source: Some(host.source()), owners: options.owners };
                self.copy_in(connection, &summary, &path, &what, |output| host.pack(output))
            }
            CopySource::Archive(input) => {
                let what = CopyIn { source: None, owners: options.owners };
                let mut input = copy::decompressed(input)?;
                if let Some(connection) = connection {
                    let pack = |output: &mut dyn Write| pass_on(&mut input, output);
                    let id = &summary.container.id;
                    return Ok(connection.copy_in(id, path, what, pack)?.1);
                }
                let _standstill = self.stand_still(&summary, false)?;
                let files = open(&summary.container, &path, Access::ReadWrite)?;
                Ok(files.copy_in(&mut input, &path, &what)?)
            }
        }
    }

    fn copy_in(
        &self,
        connection: Option<Connection>,
        summary: &Summary,
        path: &str,
        what: &CopyIn,
        pack: impl FnOnce(&mut dyn Write) -> Result<Vec<String>, CopyError> + Send,
    ) -> Result<Vec<String>> {
        let container = &summary.container;
        let (skipped, more) = if let Some(connection) = connection {
            let pack = |output: &mut dyn Write| Ok(pack(output)?);
            connection.copy_in(&container.id, path.to_owned(), what.clone(), pack)?
        } else {
            let _standstill = self.stand_still(summary, false)?;
            let files = open(container, path, Access::ReadWrite)?;
            copy::transfer(pack, |archive| files.copy_in(archive, path, what))?
        };
        Ok([skipped, more].concat())
    }

    /// A connection to the supervisor of a container that runs.
    fn connect_running(&self, summary: &Summary) -> Result<Option<Connection>> {
        if summary.state.status.is_live() { self.connect(&summary.container.id) } else { Ok(None) }
    }
}

/// Passes an archive on as it is.
fn pass_on(archive: &mut dyn io::Read, output: &mut dyn Write) -> Result<Vec<String>> {
    let mut buffer = vec![0; crate::protocol::CHUNK];
    loop {
        let count = match archive.read(&mut buffer) {
            Ok(0) => return Ok(Vec::new()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(Error::Supervisor { step: "read the archive", source }),
        };
        output.write_all(&buffer[..count]).map_err(|source| Error::Output { source })?;
    }
}

/// A container's path as it is in its own root: relative ones begin there, as in Docker.
fn guest_path(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

/// The files of a container that does not run. What it would have in memory is nowhere.
fn open(container: &Container, path: &str, access: Access) -> Result<Mounted> {
    let root = &container.bundle.root;
    let below = |mount: &&Mount| Path::new(path).starts_with(&mount.destination);
    let mount = container.bundle.mounts.iter().rev().find(below);
    if let Some(Mount { kind: MountKind::Tmpfs { .. }, .. }) = mount {
        let why = "it is in memory, of which there is none while the container does not run";
        return Err(Error::invalid("path", path, why));
    }
    let layers = UnionFs::open(&root.snapshot, access).map_err(|error| Error::Supervisor {
        step: "open the container's layers",
        source: io::Error::other(error),
    })?;
    let volumes = container.bundle.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind { source } => Some(Volume {
            destination: mount.destination.clone(),
            source: source.clone(),
            readonly: mount.readonly,
        }),
        MountKind::Tmpfs { .. } => None,
    });
    Ok(Mounted::new(layers, root.readonly, volumes))
}
