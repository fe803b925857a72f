//! Namespaces: new ones, and existing ones by their paths (config-linux.md, "Namespaces").

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType};

use super::{Error, JoinedNamespace, Result};
use crate::plan::{IdMap, Namespaces};

/// What namespaces a container has of its own.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) new: Namespaces,
    /// The user namespace first: who is in it has rights over the others.
    pub(super) joined: Vec<JoinedNamespace>,
}

impl Wanted {
    pub(super) fn of(linux: &Linux) -> Result<Self> {
        let mut wanted = Self { new: Namespaces(0), joined: Vec::new() };
        for namespace in linux.namespaces().iter().flatten() {
            let kind = kind(namespace.typ());
            if wanted.has(kind) {
                let what = format!("there are two of type {}", namespace.typ());
                return Err(Error::config("linux.namespaces", what));
            }
            match namespace.path() {
                Some(path) if !path.as_os_str().is_empty() => {
                    let name = namespace.typ().to_string();
                    // Nobody joins the one that he is in; of users it is refused (setns(2)).
                    if !is_own(path, &name) {
                        let path = path.clone();
                        wanted.joined.push(JoinedNamespace { kind, name, path });
                    }
                }
                _ => wanted.new = wanted.new.and(kind),
            }
        }
        wanted.joined.sort_by_key(|namespace| namespace.kind != Namespaces::USER);
        Ok(wanted)
    }

    /// Whether the container is in another one of this kind than its parent.
    pub(super) fn has(&self, kind: Namespaces) -> bool {
        self.new.contains(kind) || self.joined.iter().any(|joined| joined.kind == kind)
    }

    /// Those that it is cloned into, and those that it makes itself.
    pub(super) fn split(&self) -> (Namespaces, Namespaces) {
        let late = Namespaces::CGROUP.and(Namespaces::TIME);
        (Namespaces(self.new.0 & !late.0), Namespaces(self.new.0 & late.0))
    }
}

/// Whether `path` is the namespace of the type `name` that this process is in.
fn is_own(path: &Path, name: &str) -> bool {
    let file = match name {
        "mount" => "mnt",
        "network" => "net",
        name => name,
    };
    let identity = |path: &Path| fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
    let own = identity(&Path::new("/proc/self/ns").join(file));
    own.is_some() && own == identity(path)
}

const fn kind(kind: LinuxNamespaceType) -> Namespaces {
    match kind {
        LinuxNamespaceType::Mount => Namespaces::MOUNT,
        LinuxNamespaceType::Cgroup => Namespaces::CGROUP,
        LinuxNamespaceType::Uts => Namespaces::UTS,
        LinuxNamespaceType::Ipc => Namespaces::IPC,
        LinuxNamespaceType::User => Namespaces::USER,
        LinuxNamespaceType::Pid => Namespaces::PID,
        LinuxNamespaceType::Network => Namespaces::NETWORK,
        LinuxNamespaceType::Time => Namespaces::TIME,
    }
}

/// The files that map the ids of a new user namespace. Who is not root of the parent's may not
/// change groups in it.
pub(super) fn id_maps(linux: &Linux, wanted: &Wanted, privileged: bool) -> Result<Vec<IdMap>> {
    if !wanted.new.contains(Namespaces::USER) {
        return Ok(Vec::new());
    }
    let map = |file, property, mappings: &Option<Vec<LinuxIdMapping>>| {
        let mappings = mappings.as_deref().unwrap_or_default();
        if mappings.is_empty() {
            return Err(Error::config(property, "a new user namespace takes at least one mapping"));
        }
        Ok(id_map(file, mappings))
    };
    let denied = IdMap { file: "setgroups", content: "deny".to_owned() };
    let maps = [
        map("uid_map", "linux.uidMappings", linux.uid_mappings())?,
        map("gid_map", "linux.gidMappings", linux.gid_mappings())?,
    ];
    Ok((!privileged).then_some(denied).into_iter().chain(maps).collect())
}

/// A file of /proc/PID that takes `mappings`.
pub(super) fn id_map(file: &'static str, mappings: &[LinuxIdMapping]) -> IdMap {
    let line = |mapping: &LinuxIdMapping| {
        format!("{} {} {}\n", mapping.container_id(), mapping.host_id(), mapping.size())
    };
    IdMap { file, content: mappings.iter().map(line).collect() }
}

/// What `/proc/PID/timens_offsets` takes.
pub(super) fn clocks(linux: &Linux, wanted: &Wanted) -> Result<Option<String>> {
    let offsets = linux.time_offsets().iter().flatten();
    let mut lines: Vec<_> = offsets
        .map(|(clock, offset)| {
            let (seconds, nanoseconds) =
                (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
            format!("{clock} {seconds} {nanoseconds}\n")
        })
        .collect();
    if lines.is_empty() {
        return Ok(None);
    }
    if !wanted.new.contains(Namespaces::TIME) {
        return Err(Error::config("linux.timeOffsets", "there is no new time namespace to set"));
    }
    lines.sort_unstable();
    Ok(Some(lines.concat()))
}
