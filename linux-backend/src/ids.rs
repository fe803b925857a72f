//! Ranges of user and group ids, each lent to one container at a time.
//!
//! What is 0 to 65,535 in a container of root's is outside a range that belongs to no user and to
//! no other container. Nothing on disk has these ids, as the mounts are idmapped
//! (`mount_setattr(2)`): a range is free again when its container has ended.

use std::{
    fs::{self, DirBuilder, File},
    os::fd::AsFd as _,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use rustix::io::Errno;
use silo_isolation::{Error, Result};

use crate::{explain, sys};

/// Ids in a range: as many as an image can name by what Debian and systemd deal out.
pub(crate) const SIZE: u32 = 1 << 16;

/// Where the ranges start: above those that useradd(8) gives to users (`SUB_UID_MAX`,
/// 600,100,000), and within those that systemd sets aside for containers
/// (<https://systemd.io/UIDS-GIDS>).
const FIRST: u32 = 0x2400_0000;
/// Where what systemd sets aside ends.
const END: u32 = 0x6fff_0000;
const RANGES: u32 = (END - FIRST) / SIZE;

/// Each range is one byte of this file, locked by the supervisor of the container that has it: all
/// engines of this host share it, and a crash gives the range back.
const REGISTER: &str = "/run/silo/ids";

/// A range that is this container's for as long as this lives.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) first: u32,
    _lock: File,
}

impl Lease {
    /// A free range. Containers find theirs from different places, given by `id`, so that few have to
    /// look twice.
    pub(crate) fn take(id: &str) -> Result<Self> {
        let register = Path::new(REGISTER);
        if let Some(directory) = register.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(Error::file("make", directory))?;
        }
        let lock = fs::OpenOptions::new().create(true).write(true).truncate(false).open(register);
        let lock = lock.map_err(Error::file("open", register))?;
        let wanted = id.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let wanted = wanted.unwrap_or_default();
        for offset in 0..RANGES {
            let number = wanted.wrapping_add(offset) % RANGES;
            match sys::lock_byte(lock.as_fd(), number.into()) {
                Ok(()) => return Ok(Self { first: FIRST + number * SIZE, _lock: lock }),
                Err(Errno::AGAIN | Errno::ACCESS) => {}
                Err(errno) => return Err(Error::file("lock", register)(errno.into())),
            }
        }
        Err(explain::step("find a free range of user ids: all are in use")(Errno::AGAIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_containers_have_the_same_ids() {
        if !silo_layers::tree::is_privileged() {
            println!("skipped: only root lends ids");
            return;
        }
        let leases: Vec<_> = (0..3).map(|_| Lease::take("00ab54a9ff").unwrap()).collect();
        for (index, lease) in leases.iter().enumerate() {
            assert!(lease.first >= FIRST && lease.first + SIZE <= END);
            let others = leases.iter().skip(index + 1);
            assert!(others.into_iter().all(|other| other.first != lease.first));
        }
        let first = leases[0].first;
        drop(leases);
        assert_eq!(Lease::take("00ab54a9ff").unwrap().first, first);
    }
}
