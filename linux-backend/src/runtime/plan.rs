//! What is to be done for an OCI container, as plain data: the parent computes it from the
//! bundle's configuration, the child follows it.

use std::{ffi::CString, path::PathBuf, time::Duration};

use rustix::fs::{FileType, Gid, Mode, Uid};

use super::network::NetworkDevice;
use crate::{
    plan::{IdMap, Namespaces, ProcessPlan, Sysctl},
    sys::{MountChange, Strings},
};

/// The plan of a container.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a step that is taken or not")]
pub(crate) struct ContainerPlan {
    /// New ones, which the child is cloned into.
    pub(crate) namespaces: Namespaces,
    /// Existing ones, which it joins before.
    pub(crate) joined: Vec<JoinedNamespace>,
    /// New ones that the child makes itself: that of cgroups once it is in its own, and that of
    /// time, whose clocks are set before anybody lives in it.
    pub(crate) unshared: Namespaces,
    pub(crate) clocks: Option<String>,
    pub(crate) id_maps: Vec<IdMap>,
    /// Whether it waits until the parent has had it moved into its cgroup.
    pub(crate) awaits_cgroup: bool,
    /// Whether it is in a user namespace other than the parent's, and becomes root of that.
    pub(crate) becomes_root: bool,
    /// Whether it gets a session keyring of its own.
    pub(crate) keyring: bool,
    pub(crate) sysctls: Vec<Sysctl>,
    pub(crate) root: RootDirectory,
    pub(crate) mounts: Vec<MountPlan>,
    /// Symbolic links that are made where there is nothing.
    pub(crate) links: Vec<LinkPlan>,
    pub(crate) devices: Vec<DevicePlan>,
    /// Whether its terminal is /dev/console.
    pub(crate) console: bool,
    /// Mounts that are read-only once all in them is there.
    pub(crate) sealed: Vec<CString>,
    pub(crate) masked: Vec<CString>,
    pub(crate) read_only: Vec<CString>,
    pub(crate) create_hooks: Vec<HookPlan>,
    pub(crate) hostname: Option<String>,
    pub(crate) domain_name: Option<String>,
    /// Devices of the host's that the parent moves into its network namespace.
    pub(crate) network_devices: Vec<NetworkDevice>,
    /// Whether its loopback interface is new, and raised.
    pub(crate) loopback: bool,
    pub(crate) process: ProcessPlan,
    pub(crate) start_hooks: Vec<HookPlan>,
}

/// An existing namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinedNamespace {
    pub(crate) kind: Namespaces,
    /// What the configuration calls its type.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// The directory of the bundle that becomes the root.
#[derive(Debug)]
pub(crate) struct RootDirectory {
    pub(crate) path: CString,
    /// The mount that it lies in, which must not be shared when it becomes the root (`pivot_root(2)`).
    pub(crate) mount: CString,
    pub(crate) read_only: bool,
    /// Whether the parent opens it and all that is bound: it has rights over it that the child, in a
    /// user namespace, has not.
    pub(crate) outside: bool,
    /// `MS_*` of mount(2): what mounts of the host's and of the container's mean for each other.
    pub(crate) propagation: u32,
    /// That of the container's root, once it is that.
    pub(crate) final_propagation: Option<u32>,
    /// Whether it becomes the root by chroot(2), where `pivot_root(2)` is not to be had: an initramfs.
    pub(crate) no_pivot: bool,
}

/// One mount.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own")]
pub(crate) struct MountPlan {
    pub(crate) source: MountSource,
    /// Its place below the root; made where it is missing.
    pub(crate) target: CString,
    /// Whether it is a file system of the kernel's, to which no link of the image may lead: what is
    /// covered later must lie in it.
    pub(crate) kernels: bool,
    /// Whether it may cover something of /proc.
    pub(crate) into_proc: bool,
    /// Whether the new file system begins with what the directory holds.
    pub(crate) copy_up: bool,
    pub(crate) change: MountChange,
    /// Of it and all below it.
    pub(crate) recursive: MountChange,
    /// Whether the parent opens it.
    pub(crate) outside: bool,
    /// How the ids of its files are mapped (`mount_setattr(2)`).
    pub(crate) ids: Option<MountIds>,
}

/// How the ids of a mount's files are mapped.
#[derive(Debug)]
pub(crate) struct MountIds {
    /// As a user namespace with these maps has its own; those of the container where there are none.
    pub(crate) maps: Vec<IdMap>,
    /// And of what is mounted in it.
    pub(crate) recursive: bool,
}

/// What a mount shows.
#[derive(Debug)]
pub(crate) enum MountSource {
    /// A new file system.
    New {
        kind: CString,
        /// Options of the file system's own, the source among them; flags have no value.
        options: Vec<(CString, Option<CString>)>,
    },
    /// A tree of the host.
    Tree {
        path: CString,
        /// With all that is mounted in it.
        recursive: bool,
    },
    /// A tree of the container's own: where the mounts before have put something, that.
    Inside {
        /// Below the root.
        path: CString,
        recursive: bool,
    },
    /// What is there is mounted anew, with other attributes.
    Again,
}

/// A symbolic link.
#[derive(Debug)]
pub(crate) struct LinkPlan {
    pub(crate) target: CString,
    /// The directory below the root that it is in, and its name.
    pub(crate) directory: CString,
    pub(crate) name: CString,
}

/// A device node.
#[derive(Debug)]
pub(crate) struct DevicePlan {
    /// The directory below the root that it is in, and its name.
    pub(crate) directory: CString,
    pub(crate) name: CString,
    pub(crate) kind: FileType,
    pub(crate) mode: Mode,
    pub(crate) number: u64,
    pub(crate) owner: (Uid, Gid),
    /// The same device on the host, which takes its place where none can be made.
    pub(crate) host: CString,
}

/// A program that runs at a point of the container's life (config.md, "POSIX-platform Hooks").
#[derive(Debug)]
pub(crate) struct HookPlan {
    pub(crate) program: CString,
    pub(crate) args: Strings,
    pub(crate) env: Strings,
    pub(crate) timeout: Option<Duration>,
}
