//! What is in the container's /dev, and the devices that it is given elsewhere.

use std::ffi::CString;

use silo_isolation::Result;

use super::{Anchor, MountPlan, Source, c_string, mounts::is_range, relative, root::path_string};
use crate::{
    devices::{Given, below_dev},
    facts::{Facts, IdSource},
    ids,
    policy::{DEVICES, LINKS},
    sys::Attributes,
};

/// A device in the container's /dev.
#[derive(Debug)]
pub(crate) struct DeviceNode {
    pub(crate) name: CString,
    /// The directory that it is in, where that is not /dev itself.
    pub(crate) directory: Option<CString>,
    pub(crate) node: Node,
}

/// How a device is had.
#[derive(Debug)]
pub(crate) enum Node {
    /// The host's own node is mounted; the container cannot change its mode or owner.
    Bound { host: CString },
    /// A node is made, by who may.
    Made { block: bool, major: u32, minor: u32, mode: u32, user: u32, group: u32 },
}

/// A symbolic link in /dev.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: CString,
    pub(crate) target: CString,
}

/// The nodes of every container, and those that this one is given.
pub(super) fn nodes(facts: &Facts) -> Result<Vec<DeviceNode>> {
    let own = DEVICES.iter().map(|name| {
        let node = Node::Bound { host: c_string(format!("/dev/{name}"))? };
        Ok(DeviceNode { name: c_string(*name)?, directory: None, node })
    });
    let given = facts.given.iter().filter_map(|device| {
        let name = below_dev(&device.guest)?;
        Some(given(device, name, facts.ids))
    });
    own.chain(given).collect()
}

fn given(device: &Given, name: &str, ids: IdSource) -> Result<DeviceNode> {
    let made = |(user, group)| {
        let Given { id, mode, .. } = *device;
        Node::Made { block: id.block, major: id.major, minor: id.minor, mode, user, group }
    };
    let (user, group) = device.owner;
    let node = match ids {
        IdSource::Host => made((user, group)),
        // Of whom it is on the host, it is inside: as with files of volumes.
        IdSource::Range { first } => made((first + within(user), first + within(group))),
        IdSource::Nested | IdSource::Single { .. } => {
            Node::Bound { host: path_string(&device.host)? }
        }
    };
    let directory = name.rsplit_once('/').map(|(directory, _)| c_string(directory)).transpose()?;
    Ok(DeviceNode { name: c_string(name)?, directory, node })
}

/// An id in a container's range; those that it lacks are nobody's.
const fn within(id: u32) -> u32 {
    const NOBODY: u32 = 65_534;
    if id < ids::SIZE { id } else { NOBODY }
}

/// The devices whose place is not in /dev: the host's own nodes, mounted.
pub(super) fn elsewhere(facts: &Facts) -> impl Iterator<Item = Result<MountPlan>> {
    let elsewhere = facts.given.iter().filter(|device| below_dev(&device.guest).is_none());
    elsewhere.map(|device| {
        Ok(MountPlan {
            source: Source::Tree { path: path_string(&device.host)? },
            attributes: BOUND,
            anchor: Anchor::Root,
            target: relative(&device.guest)?,
            directory: false,
            outside: is_range(facts),
            becomes: None,
        })
    })
}

/// A device on a read-only mount can be written to (open(2)): what cannot be written is its inode.
pub(crate) const BOUND: Attributes =
    Attributes::READ_ONLY.and(Attributes::NO_SUID).and(Attributes::NO_EXEC);

/// Has /dev hold what is to be made in it. Nobody in a user namespace makes a node that opens (mknod(2)), and
/// with the host's users the rules of the cgroup say which do.
pub(super) fn make_room(mounts: &mut [MountPlan], facts: &Facts) -> Result<()> {
    if facts.given.is_empty() {
        return Ok(());
    }
    for mount in mounts.iter_mut().filter(|mount| mount.becomes == Some(Anchor::Dev)) {
        if !facts.ids.is_rootless() {
            mount.attributes = mount.attributes.without(Attributes::NO_DEV);
        }
        // Its nodes open where who has mounted it may make such.
        mount.outside = is_range(facts);
        if let Source::New { options, .. } = &mut mount.source {
            // Each has a directory of its own at most.
            let inodes = SPARE_INODES + 2 * facts.given.len();
            options.retain(|(key, _)| key.as_c_str() != c"nr_inodes");
            options.push((c"nr_inodes".to_owned(), c_string(inodes.to_string())?));
        }
    }
    Ok(())
}

const SPARE_INODES: usize = 256;

pub(super) fn links() -> Result<Vec<Link>> {
    let link = |&(name, target): &(&str, &str)| {
        Ok(Link { name: c_string(name)?, target: c_string(target)? })
    };
    LINKS.iter().map(link).collect()
}
