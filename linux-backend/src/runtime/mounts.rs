//! From the configuration's mounts to the plan's (config.md, "Mounts").

use std::{
    ffi::{CStr, CString},
    os::fd::BorrowedFd,
    path::{Component, Path, PathBuf},
};

use oci_spec::runtime::Mount;
use rustix::fs::{Dir, Mode, OFlags, ResolveFlags};

use super::{
    Error, LinkPlan, MountIds, MountPlan, MountSource, Result,
    cgroups::Place,
    mount_options::Options,
    namespaces,
    text::{c_path, c_text},
};
use crate::sys::{Attributes, MountChange};

/// What mounts depend on beyond the configuration.
pub(super) struct Surroundings<'a> {
    /// Paths that are not absolute start here.
    pub(super) bundle: &'a Path,
    pub(super) cgroups: &'a Place,
    /// Whether the container sees its own cgroup as the root of all.
    pub(super) cgroup_namespace: bool,
    /// Whether the parent opens what is bound.
    pub(super) outside: bool,
    /// The root, and where it is on the host.
    pub(super) root: BorrowedFd<'a>,
    pub(super) path: &'a Path,
    /// What SELinux is to take files of new file systems for.
    pub(super) label: Option<&'a str>,
}

/// What the configuration's mounts come to.
#[derive(Default)]
pub(super) struct Planned {
    pub(super) mounts: Vec<MountPlan>,
    pub(super) links: Vec<LinkPlan>,
    pub(super) sealed: Vec<CString>,
}

/// Files of /proc that may be covered, by what tells a container less than the host's (as runc has
/// them): anything else there could be mistaken for the kernel's own (CVE-2019-16884).
const COVERABLE: [&str; 10] = [
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/loadavg",
    "proc/meminfo",
    "proc/slabinfo",
    "proc/stat",
    "proc/swaps",
    "proc/sys/crypto/fips_enabled",
    "proc/sys/kernel/ns_last_pid",
    "proc/uptime",
];

/// File systems whose files are the container's own, by SELinux, too (as runc).
const LABELLED: [&str; 3] = ["tmpfs", "mqueue", "devpts"];

impl Planned {
    pub(super) fn new(mounts: &[Mount], around: &Surroundings<'_>) -> Result<Self> {
        let mut planned = Self::default();
        for mount in mounts {
            planned.add(mount, around)?;
        }
        Ok(planned)
    }

    fn add(&mut self, mount: &Mount, around: &Surroundings<'_>) -> Result<()> {
        // As runc: one that is named by where it is on the host is meant there.
        let destination = mount.destination();
        let destination = clean(destination.strip_prefix(around.path).unwrap_or(destination));
        let options = mount.options().iter().flatten().map(String::as_str);
        let options = Options::parse(options);
        let wrong = |why: String| {
            Error::config(format!("the mount on {}", mount.destination().display()), why)
        };
        let kind = mount.typ().as_deref().unwrap_or_default();
        let bind = options.bind.is_some() || kind == "bind";
        if destination.as_os_str().is_empty() {
            return Err(wrong("there is the root".to_owned()));
        }
        let ids = ids(mount, &options, bind, wrong)?;
        if !bind && (kind == "cgroup" || kind == "cgroup2") {
            return self.add_cgroups(&destination, &options, around);
        }
        let target = c_path(&destination)?;
        let place = destination.to_string_lossy();
        let in_proc = place == "proc" || place.starts_with("proc/");
        if bind && in_proc && place != "proc" && !COVERABLE.contains(&&*place) {
            return Err(wrong("nothing may be bound there, inside /proc".to_owned()));
        }
        let mut change = options.change;
        let source = if options.remount {
            MountSource::Again
        } else if bind {
            tree(mount, &options, around, ids.is_none(), wrong)?
        } else {
            let mode = mode(around.root, kind, &target);
            let label = around.label.filter(|_| LABELLED.contains(&kind));
            new(kind, mount.source().as_deref(), &options, mode, label)?
        };
        // There may be more to be made in it.
        if kind == "tmpfs" && change.set.contains(Attributes::READ_ONLY) && !options.remount {
            change.set = change.set.without(Attributes::READ_ONLY);
            self.sealed.push(target.clone());
        }
        let copy_up = options.copy_up && kind == "tmpfs" && holds_something(around.root, &target);
        let outside = copy_up
            || ids.is_some()
            || around.outside && matches!(source, MountSource::Tree { .. });
        self.mounts.push(MountPlan {
            source,
            target,
            kernels: matches!(kind, "proc" | "sysfs"),
            into_proc: in_proc,
            copy_up,
            change,
            recursive: options.recursive,
            outside,
            ids,
        });
        Ok(())
    }

    /// The container's own cgroups: with a namespace for them as if it had no others.
    fn add_cgroups(
        &mut self,
        destination: &Path,
        options: &Options,
        around: &Surroundings<'_>,
    ) -> Result<()> {
        let mut add = |source, at: &Path, change| -> Result<()> {
            self.mounts.push(MountPlan {
                source,
                target: c_path(at)?,
                kernels: false,
                into_proc: false,
                copy_up: false,
                change,
                recursive: MountChange::default(),
                outside: false,
                ids: None,
            });
            Ok(())
        };
        let source = |kind: &str, options: &[&str], own: &Path| -> Result<MountSource> {
            if !around.cgroup_namespace {
                return Ok(MountSource::Tree { path: c_path(own)?, recursive: false });
            }
            let option = |option: &&str| -> Result<_> {
                Ok(match option.split_once('=') {
                    Some((key, value)) => (c_text(key)?, Some(c_text(value)?)),
                    None => (c_text(*option)?, None),
                })
            };
            let options = options.iter().map(option).collect::<Result<_>>()?;
            Ok(MountSource::New { kind: c_text(kind)?, options })
        };
        if let Some(unified) = around.cgroups.only_unified() {
            return add(source("cgroup2", &[], &unified.path)?, destination, options.change);
        }
        let shell = MountChange {
            set: options.change.set.without(Attributes::READ_ONLY),
            ..options.change
        };
        let size = [(c_text("mode")?, Some(c_text("755")?))].to_vec();
        let tmpfs = MountSource::New { kind: c_text("tmpfs")?, options: size };
        add(tmpfs, destination, shell)?;
        for hierarchy in &around.cgroups.hierarchies {
            let at = destination.join(hierarchy.mount_name());
            let source = if hierarchy.unified {
                source("cgroup2", &[], &hierarchy.path)?
            } else {
                let names: Vec<_> = hierarchy.controllers.iter().map(String::as_str).collect();
                source("cgroup", &names, &hierarchy.path)?
            };
            add(source, &at, options.change)?;
        }
        let links = around.cgroups.hierarchies.iter().filter(|hierarchy| !hierarchy.unified);
        for hierarchy in links {
            for controller in hierarchy.other_names() {
                self.links.push(LinkPlan {
                    target: c_text(hierarchy.mount_name())?,
                    directory: c_path(destination)?,
                    name: c_text(controller)?,
                });
            }
        }
        if options.change.set.contains(Attributes::READ_ONLY) {
            self.sealed.push(c_path(destination)?);
        }
        Ok(())
    }
}

/// How ids are to be mapped: by the mount's own maps, or with an option alone as the container's are.
fn ids(
    mount: &Mount,
    options: &Options,
    bind: bool,
    wrong: impl Fn(String) -> Error,
) -> Result<Option<MountIds>> {
    let maps = match (mount.uid_mappings(), mount.gid_mappings()) {
        (None, None) if options.id_mapped.is_none() => return Ok(None),
        (None, None) => Vec::new(),
        (Some(users), Some(groups)) => {
            vec![namespaces::id_map("uid_map", users), namespaces::id_map("gid_map", groups)]
        }
        _ => {
            return Err(wrong("ids of users are mapped and those of groups not, or so".to_owned()));
        }
    };
    if !bind {
        return Err(wrong("ids are mapped of what is bound, and of nothing else".to_owned()));
    }
    Ok(Some(MountIds { maps, recursive: options.id_mapped.unwrap_or(false) }))
}

/// The mode of the directory of the root that a tmpfs covers, which it then has, too.
fn mode(root: BorrowedFd<'_>, kind: &str, path: &CStr) -> Option<u32> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::openat2(root, path, flags, Mode::empty(), resolve).ok()?;
    let stat = rustix::fs::fstat(found).ok().filter(|_| kind == "tmpfs")?;
    Some(stat.st_mode & 0o7777)
}

/// Whether there is something in a directory of the root.
fn holds_something(root: BorrowedFd<'_>, path: &CStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::openat2(root, path, flags, Mode::empty(), resolve);
    let entries = found.and_then(Dir::new).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_owned()).any(|name| name != c"." && name != c"..")
}

fn tree(
    mount: &Mount,
    options: &Options,
    around: &Surroundings<'_>,
    may_be_inside: bool,
    wrong: impl Fn(String) -> Error,
) -> Result<MountSource> {
    let source = mount.source().as_deref().unwrap_or(Path::new(""));
    if source.as_os_str().is_empty() {
        return Err(wrong("it has no source to bind".to_owned()));
    }
    let recursive = options.bind.unwrap_or(true);
    let path = around.bundle.join(source);
    // Whose ids are mapped is the parent's to open, which sees nothing of what is mounted before.
    match path.strip_prefix(around.path) {
        // Where the host's own root is the container's, what is named is the host's.
        Ok(below) if may_be_inside && around.path != Path::new("/") => {
            let below = clean(below);
            let path = if below.as_os_str().is_empty() { c_text(".")? } else { c_path(&below)? };
            Ok(MountSource::Inside { path, recursive })
        }
        _ => Ok(MountSource::Tree { path: c_path(&path)?, recursive }),
    }
}

fn new(
    kind: &str,
    source: Option<&Path>,
    options: &Options,
    mode: Option<u32>,
    label: Option<&str>,
) -> Result<MountSource> {
    let mut data = Vec::new();
    // proc, sysfs and the like take any source, which only mountinfo shows.
    if let Some(source) = source {
        data.push((c_text("source")?, Some(c_path(source)?)));
    }
    if let Some(mode) = mode.filter(|_| options.data.iter().all(|(key, _)| key != "mode")) {
        data.push((c_text("mode")?, Some(c_text(format!("{mode:o}"))?)));
    }
    if let Some(label) = label.filter(|_| options.data.iter().all(|(key, _)| key != "context")) {
        data.push((c_text("context")?, Some(c_text(label)?)));
    }
    for (key, value) in &options.data {
        let value = value.as_deref().map(c_text).transpose()?;
        data.push((c_text(key.as_str())?, value));
    }
    Ok(MountSource::New { kind: c_text(kind)?, options: data })
}

/// A path of the container below its root, without `.` and `..`.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}
