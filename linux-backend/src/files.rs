//! A running container's files, reached from outside by the root directory of its first process.

use std::io::{self, Read, Write};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use silo_isolation::{Error, Result};
use silo_layers::copy::{CopyError, CopyIn, CopyOut, GuestFiles, IdRange, LiveTree};

use crate::{facts::IdSource, guest::Guest, ids, sys};

/// The kernel's own file systems, which are no container's: no part of a copy of all its files.
const KERNELS: &[&str] = &["dev", "proc", "sys"];

/// Opens the files that `guest`, whose ids are `ids`, sees with what is mounted in its mount
/// namespace.
pub(crate) fn open(guest: &Guest, ids: IdSource) -> Result<Box<dyn GuestFiles>> {
    let tree = open_root(guest)?;
    Ok(match ids {
        IdSource::Range { first } => {
            let range = IdRange { first, size: ids::SIZE };
            Box::new(Mapped { tree: tree.with_ids(range), first })
        }
        IdSource::Host | IdSource::Nested | IdSource::Single { .. } => Box::new(tree),
    })
}

fn open_root(guest: &Guest) -> Result<LiveTree> {
    let path = format!("/proc/{}/root", guest.pid());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(&path, flags, Mode::empty());
    // Its number can be another's once it was waited for. It was not when this was opened if it is
    // not yet.
    if !guest.is_there()? {
        return Err(Error::WrongState { state: "stopped" });
    }
    match root {
        Ok(root) => Ok(LiveTree::new(root.into(), KERNELS)),
        // It has ended, and has no root any more.
        Err(Errno::NOENT | Errno::SRCH) => Err(Error::WrongState { state: "stopped" }),
        Err(errno @ (Errno::ACCESS | Errno::PERM)) => Err(Error::NotPermitted {
            what: "look into the running container".to_owned(),
            hint: "root needs the capability CAP_SYS_PTRACE for that; or stop it first".to_owned(),
            source: errno.into(),
        }),
        Err(errno) => Err(Error::file("open", path)(errno.into())),
    }
}

/// The files of a container with a range of ids of its own: root outside has no id inside, and
/// can make no file there but as one of them.
#[derive(Debug)]
struct Mapped {
    tree: LiveTree,
    first: u32,
}

impl Mapped {
    /// Does `act`, which is about `path`, as root inside.
    fn acting<T>(
        &self,
        path: &str,
        act: impl FnOnce() -> Result<T, CopyError>,
    ) -> Result<T, CopyError> {
        sys::acting_on_files_as(self.first, act).map_err(|errno| CopyError::Guest {
            path: path.to_owned(),
            source: io::Error::from(errno).into(),
        })?
    }
}

impl GuestFiles for Mapped {
    fn copy_out(
        &self,
        path: &str,
        how: CopyOut,
        archive: &mut dyn Write,
    ) -> Result<Vec<String>, CopyError> {
        self.acting(path, || self.tree.copy_out(path, how, archive))
    }

    fn copy_in(
        &self,
        archive: &mut dyn Read,
        path: &str,
        what: &CopyIn,
    ) -> Result<Vec<String>, CopyError> {
        self.acting(path, || self.tree.copy_in(archive, path, what))
    }
}
