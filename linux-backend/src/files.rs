//! A running container's files, reached from outside by the root directory of its first process.

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use silo_isolation::{Error, Result};
use silo_layers::copy::LiveTree;

use crate::guest::Guest;

/// The kernel's own file systems, which are no container's: no part of a copy of all its files.
const KERNELS: &[&str] = &["dev", "proc", "sys"];

/// Opens the files that `guest` sees, with what is mounted in its mount namespace.
pub(crate) fn open(guest: &Guest) -> Result<LiveTree> {
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
