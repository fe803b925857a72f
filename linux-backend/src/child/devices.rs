//! Device nodes and links. /dev is a file system of this container's own, fresh and still out of
//! everyone's reach, so names in it are what they seem.

use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::{
    fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid},
    io::Errno,
    mount::OpenTreeFlags,
};

use super::{
    root::{attach_at, clone_tree},
    target,
};
use crate::{
    plan::{BOUND, DeviceNode, Node, Plan},
    protocol::{At as _, Failure, Step},
    sys,
};

/// Fills `dev`, where the parent has not made nodes already.
pub(super) fn fill(plan: &Plan, dev: BorrowedFd<'_>) -> Result<(), Failure> {
    if plan.root.outside.is_none() {
        make(&plan.devices, dev)?;
    }
    for (index, device) in plan.devices.iter().enumerate() {
        if let Node::Bound { host } = &device.node {
            bind(dev, device, host).at(Step::MakeDevice, index)?;
        }
    }
    for (index, link) in plan.links.iter().enumerate() {
        rustix::fs::symlinkat(link.target.as_c_str(), dev, link.name.as_c_str())
            .at(Step::MakeLink, index)?;
    }
    Ok(())
}

/// Makes those of the nodes that are to be made.
pub(crate) fn make(devices: &[DeviceNode], dev: BorrowedFd<'_>) -> Result<(), Failure> {
    for (index, device) in devices.iter().enumerate() {
        make_node(dev, device).at(Step::MakeDevice, index)?;
    }
    Ok(())
}

fn make_node(dev: BorrowedFd<'_>, device: &DeviceNode) -> Result<(), Errno> {
    let Node::Made { block, major, minor, mode, user, group } = device.node else { return Ok(()) };
    make_directory(dev, device)?;
    let kind = if block { FileType::BlockDevice } else { FileType::CharacterDevice };
    let name = device.name.as_c_str();
    let number = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(dev, name, kind, Mode::empty(), number)?;
    // Whatever is masked out of modes here, and before the owner is another.
    rustix::fs::chmodat(dev, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    rustix::fs::chownat(dev, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
}

fn bind(dev: BorrowedFd<'_>, device: &DeviceNode, host: &std::ffi::CStr) -> Result<(), Errno> {
    make_directory(dev, device)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    drop(rustix::fs::openat(dev, device.name.as_c_str(), flags, Mode::empty())?);
    let node = clone_tree(CWD, host, OpenTreeFlags::empty())?;
    sys::set_attributes(node.as_fd(), BOUND, false)?;
    attach_at(&node, dev, &device.name)
}

fn make_directory(dev: BorrowedFd<'_>, device: &DeviceNode) -> Result<(), Errno> {
    let Some(directory) = &device.directory else { return Ok(()) };
    target::make_directories(dev, directory)
}
