//! What a plan needs to know of the host.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use silo_isolation::{Bundle, Error, Isolation, MountKind, Network, Result, Security, Users};
use silo_layers::tree::is_privileged;

use crate::{
    cgroup::{self, Devices, Hierarchy},
    devices::{self, DeviceList, Given},
    ids::Lease,
    plan::Arguments,
    policy, respawn,
    rootless::{OwnIds, hands_ids_on, outer_ids},
    sys,
};

/// Whose users those of a container are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdSource {
    /// The host's own, by the same numbers: there is no user namespace.
    Host,
    /// 0 to 65,535 inside are as many from `first` on outside, which are nobody's.
    Range { first: u32 },
    /// All that this process has, by the same numbers: it is root of a user namespace itself.
    Nested,
    /// One user and group inside are this process's own, and there is nobody else: 0, or who has made
    /// this process's user namespace.
    Single { own: (u32, u32), inside: (u32, u32) },
}

impl IdSource {
    /// The id outside of the user `id` inside.
    pub(crate) const fn outside(self, id: u32) -> u32 {
        match self {
            Self::Host | Self::Nested => id,
            Self::Range { first } => first.saturating_add(id),
            Self::Single { own, .. } => own.0,
        }
    }

    pub(crate) fn user_namespace(self) -> bool {
        self != Self::Host
    }

    /// Whether there is more than one user.
    pub(crate) const fn has_others(self) -> bool {
        !matches!(self, Self::Single { .. })
    }

    /// Whether whoever runs this is not root of the machine.
    pub(crate) const fn is_rootless(self) -> bool {
        matches!(self, Self::Nested | Self::Single { .. })
    }

    /// The user and group that own the container's files, and that its programs run as unless told
    /// otherwise.
    pub(crate) const fn owner(self) -> (u32, u32) {
        match self {
            Self::Single { inside, .. } => inside,
            _ => (0, 0),
        }
    }
}

/// Facts about the host, gathered for one bundle: no more is looked up than it needs.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) ids: IdSource,
    /// The ids that are handed on, where those are this process's.
    pub(crate) own_ids: OwnIds,
    /// The range of ids, where there is one.
    pub(crate) _lease: Option<Lease>,
    /// The version of Landlock that is to be used, 0 for none.
    pub(crate) landlock: u32,
    /// Whether the kernel confines by AppArmor; not looked for where nothing is asked of it.
    pub(crate) apparmor: bool,
    /// How long the machine has been up, by the clocks that a time namespace has of its own; `None`
    /// where the kernel has no such namespaces.
    pub(crate) uptime: Option<Uptime>,
    /// Where cgroups can be made; not looked for when nothing is limited, and `None` where there
    /// is no such place.
    pub(crate) cgroups: Option<Hierarchy>,
    /// The devices that the container is given.
    pub(crate) given: Vec<Given>,
    /// Which devices it may open and make, where it is held to rules.
    pub(crate) permitted: Option<DeviceList>,
    /// The devices that limits name.
    pub(crate) devices: Devices,
    /// This process's own hard limit of file descriptors.
    pub(crate) most_files: Option<u64>,
    /// Where this process's own arguments are, when an init process is asked for.
    pub(crate) arguments: Option<Arguments>,
    /// /etc/resolv.conf and /etc/hosts, when the guest has the host's network.
    pub(crate) resolv_conf: Option<String>,
    pub(crate) hosts: Option<String>,
    /// Those of the bundle's bind sources that are directories.
    pub(crate) directories: BTreeSet<PathBuf>,
}

/// Whole seconds of clocks that a time namespace has of its own (`time_namespaces(7)`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uptime {
    pub(crate) monotonic: i64,
    pub(crate) boottime: i64,
}

impl Facts {
    pub(crate) fn gather(bundle: &Bundle) -> Result<Self> {
        let users = policy::users(&bundle.security);
        let lease = match users {
            // Root elsewhere, in a user namespace, has no ids to lend.
            Users::Own if is_privileged() => Some(Lease::take(&bundle.id)?),
            _ => None,
        };
        let ids = match (&lease, users) {
            (Some(lease), _) => IdSource::Range { first: lease.first },
            (None, Users::Host) => IdSource::Host,
            (None, Users::Own) if hands_ids_on() => IdSource::Nested,
            (None, Users::Own) => IdSource::Single { own: own_ids(), inside: (0, 0) },
            (None, Users::Kept) => IdSource::Single { own: own_ids(), inside: outer_ids() },
        };
        let given = devices::given(&bundle.security)?;
        let permitted = permitted(&bundle.security, &given, ids)?;
        let limited = cgroup::is_limited(&bundle.limits) || permitted.is_some();
        let shared =
            |path| (bundle.network == Network::Host).then(|| fs::read_to_string(path).ok());
        Ok(Self {
            ids,
            own_ids: if ids == IdSource::Nested { OwnIds::read() } else { OwnIds::default() },
            _lease: lease,
            landlock: match bundle.security.isolation {
                Isolation::Strict => sys::landlock_version(),
                Isolation::Default | Isolation::Docker => 0,
            },
            apparmor: bundle.security.apparmor.is_some() && has_apparmor(),
            uptime: uptime(),
            cgroups: if limited { Hierarchy::detect().ok() } else { None },
            given,
            permitted,
            devices: cgroup::devices(&bundle.limits)?,
            arguments: if bundle.init { Some(respawn::arguments()?) } else { None },
            most_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
            resolv_conf: shared("/etc/resolv.conf").flatten(),
            hosts: shared("/etc/hosts").flatten(),
            directories: directories(bundle)?,
        })
    }

    pub(crate) fn is_directory(&self, source: &Path) -> bool {
        self.directories.contains(source)
    }
}

fn permitted(security: &Security, given: &[Given], ids: IdSource) -> Result<Option<DeviceList>> {
    if !devices::has_rules(security, ids == IdSource::Host) {
        return Ok(None);
    }
    let given: Vec<_> =
        given.iter().map(|device| devices::rule(device.id, device.access)).collect();
    let rules = devices::RULES.iter().chain(&given).chain(&security.device_rules);
    DeviceList::of(rules).map(Some).map_err(|part| Error::Unsupported {
        what: format!("no rule takes `{}` from what another permits as a whole", part.rule),
    })
}

/// This process's effective user and group.
pub(crate) fn own_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Whether the kernel has AppArmor and it is switched on.
pub(crate) fn has_apparmor() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|enabled| enabled.starts_with('Y'))
}

/// Whether the kernel confines by `SELinux`: its file system is mounted where it does.
pub(crate) fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/status").exists()
}

fn uptime() -> Option<Uptime> {
    let seconds = |clock| rustix::time::clock_gettime(clock).tv_sec;
    Path::new("/proc/self/ns/time").exists().then(|| Uptime {
        monotonic: seconds(rustix::time::ClockId::Monotonic),
        boottime: seconds(rustix::time::ClockId::Boottime),
    })
}

fn directories(bundle: &Bundle) -> Result<BTreeSet<PathBuf>> {
    let mut directories = BTreeSet::new();
    for mount in &bundle.mounts {
        if let MountKind::Bind { source } = &mount.kind
            && fs::metadata(source).map_err(Error::file("find", source))?.is_dir()
        {
            directories.insert(source.clone());
        }
    }
    Ok(directories)
}
