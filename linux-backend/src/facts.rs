//! What a plan needs to know of the host.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use silo_isolation::{Bundle, Error, Limits, MountKind, Network, Result};

use crate::cgroup::Hierarchy;

/// Facts about the host, gathered for one bundle: no more is looked up than it needs.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The effective ids of this process.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Where cgroups can be made; not looked for when nothing is limited, and `None` where there
    /// is no such place.
    pub(crate) cgroups: Option<Hierarchy>,
    /// /etc/resolv.conf and /etc/hosts, when the guest has the host's network.
    pub(crate) resolv_conf: Option<String>,
    pub(crate) hosts: Option<String>,
    /// Those of the bundle's bind sources that are directories.
    pub(crate) directories: BTreeSet<PathBuf>,
}

impl Facts {
    pub(crate) fn gather(bundle: &Bundle) -> Result<Self> {
        let limited = is_limited(&bundle.limits);
        let shared =
            |path| (bundle.network == Network::Host).then(|| fs::read_to_string(path).ok());
        Ok(Self {
            cgroups: if limited { Hierarchy::detect().ok() } else { None },
            resolv_conf: shared("/etc/resolv.conf").flatten(),
            hosts: shared("/etc/hosts").flatten(),
            directories: directories(bundle)?,
            ..Self::own()
        })
    }

    /// Only who this process is.
    pub(crate) fn own() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            cgroups: None,
            resolv_conf: None,
            hosts: None,
            directories: BTreeSet::new(),
        }
    }

    /// Whether a user namespace is needed to do anything at all.
    pub(crate) const fn user_namespace(&self) -> bool {
        self.uid != 0
    }

    pub(crate) fn is_directory(&self, source: &Path) -> bool {
        self.directories.contains(source)
    }
}

/// Whether anything is asked for that takes a cgroup.
pub(crate) const fn is_limited(limits: &Limits) -> bool {
    limits.memory.is_some() || limits.nano_cpus.is_some() || limits.pids.is_some()
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
