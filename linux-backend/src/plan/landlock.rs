//! What the isolation `strict` permits on files and sockets, whatever else permits more
//! (landlock(7)).

use std::ffi::CString;

use silo_isolation::{Bundle, Mount, MountKind, Result};

use super::c_string;
use crate::{facts::Facts, sys::Ruleset};

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIRECTORY: u64 = 1 << 3;
const MAKE_CHARACTER_DEVICE: u64 = 1 << 6;
const MAKE_BLOCK_DEVICE: u64 = 1 << 11;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEVICE: u64 = 1 << 15;
/// All that version 1 knows.
const FIRST: u64 = (1 << 13) - 1;

/// What there is to permit on a file that is no directory.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE;

/// To bind and to connect (version 4).
const TCP: u64 = 0b11;

/// Rules over files and sockets. Signals and abstract sockets are left to the namespaces: a process
/// that joins the container has rules of its own, and its signals are to reach the others.
#[derive(Debug)]
pub(crate) struct Landlock {
    pub(crate) refused: Ruleset,
    /// Paths from the container's root, and what is permitted beneath.
    pub(crate) permitted: Vec<(CString, u64)>,
}

impl Landlock {
    /// The rules for this kernel; `None` where it has none, or the isolation.
    pub(super) fn new(bundle: &Bundle, facts: &Facts) -> Result<Option<Self>> {
        let version = facts.landlock;
        if version == 0 {
            return Ok(None);
        }
        let known = |since: u32, access: u64| if version >= since { access } else { 0 };
        let files = FIRST | known(2, REFER) | known(3, TRUNCATE) | known(5, IOCTL_DEVICE);
        let writing = files & !(MAKE_CHARACTER_DEVICE | MAKE_BLOCK_DEVICE | IOCTL_DEVICE);
        let writable = bundle.mounts.iter().filter(|mount| !mount.readonly);
        let writable = writable.map(|mount| {
            let kind = if is_directory(mount, facts) { u64::MAX } else { OF_FILES };
            Ok((c_string(mount.destination.as_str())?, writing & kind))
        });
        let read = (c"/".to_owned(), EXECUTE | READ_FILE | READ_DIRECTORY);
        let devices = (c"/dev".to_owned(), files & (writing | IOCTL_DEVICE));
        Ok(Some(Self {
            refused: Ruleset { files, network: known(4, TCP) },
            permitted: [Ok(read), Ok(devices)]
                .into_iter()
                .chain(writable)
                .collect::<Result<_>>()?,
        }))
    }
}

fn is_directory(mount: &Mount, facts: &Facts) -> bool {
    match &mount.kind {
        MountKind::Bind { source } => facts.is_directory(source),
        MountKind::Tmpfs { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{RANGE, bundle, facts},
        *,
    };

    fn rules(landlock: u32) -> Option<Landlock> {
        Landlock::new(&bundle(), &Facts { landlock, ..facts(RANGE) }).unwrap()
    }

    #[test]
    fn rules_are_of_what_the_kernel_knows() {
        assert!(rules(0).is_none());
        let first = rules(1).unwrap();
        assert_eq!(first.refused, Ruleset { files: FIRST, network: 0 });
        let last = rules(7).unwrap();
        assert_eq!(last.refused, Ruleset { files: 0xffff, network: TCP });
        assert!(last.permitted.iter().all(|(_, access)| access & MAKE_BLOCK_DEVICE == 0));
    }

    #[test]
    fn only_what_is_writable_can_be_written_to() {
        let rules = rules(7).unwrap();
        let paths: Vec<_> =
            rules.permitted.iter().map(|(path, _)| path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/", "/dev", "/scratch"]);
        assert_eq!(rules.permitted[0].1, EXECUTE | READ_FILE | READ_DIRECTORY);
    }
}
