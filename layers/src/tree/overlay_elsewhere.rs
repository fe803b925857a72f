//! What `Encoding::Overlay` needs from the host, where the host is not Linux: refused.

use std::{fs::File, io, path::Path};

use cap_std::fs::Dir;

use super::{Attributes, Entry, Kind, Special};

fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "overlayfs's encoding is Linux's alone"))
}

pub(super) fn privileged() -> bool {
    false
}

pub(super) fn keeps_owners() -> bool {
    false
}

pub(super) fn listing(_: &Dir) -> io::Result<(Vec<Entry>, bool)> {
    unsupported()
}

pub(super) fn find(_: &Dir, _: &Path) -> io::Result<Option<Kind>> {
    unsupported()
}

pub(super) fn make_special(_: &Dir, _: &Path, _: Special, _: u32) -> io::Result<()> {
    unsupported()
}

pub(super) fn device_numbers(_: u64) -> (u32, u32) {
    (0, 0)
}

pub(super) fn is_opaque(_: &Dir) -> io::Result<bool> {
    unsupported()
}

pub(super) fn is_opaque_path(_: &Path) -> io::Result<bool> {
    unsupported()
}

pub(super) fn set_opaque(_: &Dir) -> io::Result<()> {
    unsupported()
}

pub(super) fn set_mode(_: &Dir, _: &Path, _: u32) -> io::Result<()> {
    unsupported()
}

pub(super) fn set_owner(_: &Dir, _: &Path, _: Option<u32>, _: u32) -> io::Result<()> {
    unsupported()
}

pub(super) fn exchange(_: &Dir, _: &Path, _: &Dir, _: &Path) -> io::Result<()> {
    unsupported()
}

pub(super) fn apply_to_file(_: &File, _: &Attributes) -> io::Result<()> {
    unsupported()
}

pub(super) fn apply(_: &Dir, _: &Path, _: Kind, _: &Attributes) -> io::Result<()> {
    unsupported()
}

pub(super) fn xattrs(_: &Dir, _: &Path, _: Kind) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    unsupported()
}
