//! Where a container's cgroups are: one in each hierarchy that is mounted (cgroups(7)).

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::super::{Error, Result, systemd::Unit};

/// A container's place in all hierarchies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) hierarchies: Vec<Hierarchy>,
    /// The unit of systemd's that it is, where that is to make it.
    pub(crate) unit: Option<Unit>,
}

/// One hierarchy, and the container's cgroup in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Whether it is that of version 2.
    pub(crate) unified: bool,
    /// Those of version 1 that it has, as mount options: `cpu`, `name=systemd`.
    pub(crate) controllers: Vec<String>,
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// The container's cgroup.
    pub(crate) path: PathBuf,
}

impl Hierarchy {
    /// What its mount is called among the others.
    pub(crate) fn mount_name(&self) -> String {
        self.mount.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The controllers that are called otherwise than it.
    pub(crate) fn other_names(&self) -> impl Iterator<Item = &str> {
        let own = self.mount_name();
        let names = self.controllers.iter().map(String::as_str);
        names.filter(move |name| *name != own && !name.contains('='))
    }

    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

impl Place {
    /// The place that `wanted`, the configuration's `cgroupsPath`, names on this host: absolute, below
    /// the root of each hierarchy; else below this process's own cgroup.
    pub(crate) fn find(wanted: &Path) -> Result<Self> {
        let read = |path| fs::read_to_string(path).map_err(Error::file("read", path));
        Ok(Self::of(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?, wanted))
    }

    fn of(mounts: &str, own: &str, wanted: &Path) -> Self {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for mount in mounts.lines().filter_map(Mount::parse) {
            let known = |one: &&Hierarchy| {
                one.unified == mount.unified && one.controllers == mount.controllers
            };
            if !hierarchies.iter().any(|one| known(&one)) {
                hierarchies.push(mount.into_hierarchy());
            }
        }
        let alone = hierarchies.len() == 1;
        for hierarchy in &mut hierarchies {
            let below = if wanted.is_absolute() {
                PathBuf::new()
            } else {
                let own = own_path(own, hierarchy);
                // What has processes of its own gives no controllers to cgroups below it
                // (cgroup-v2.rst, "No Internal Process Constraint").
                if alone && hierarchy.unified { parent(&own) } else { own }
            };
            let wanted = super::super::mounts::clean(wanted);
            hierarchy.path = hierarchy.mount.join(below).join(wanted);
        }
        Self { hierarchies, unit: None }
    }

    /// The place of a unit, below the cgroup of who has it.
    pub(crate) fn of_unit(unit: Unit, below: &Path) -> Result<Self> {
        let path = Path::new("/").join(below).join(unit.path()?);
        let place = Self::find(&path)?;
        if place.only_unified().is_none() {
            let why = "systemd makes cgroups of version 2 alone, and this host has others";
            return Err(Error::Unsupported(format!("--systemd-cgroup: {why}")));
        }
        Ok(Self { unit: Some(unit), ..place })
    }

    /// The hierarchy of version 2 where there is no other.
    pub(crate) fn only_unified(&self) -> Option<&Hierarchy> {
        match &self.hierarchies[..] {
            [one] if one.unified => Some(one),
            _ => None,
        }
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

/// This process's cgroup in `hierarchy`, below the mount's root.
fn own_path(own: &str, hierarchy: &Hierarchy) -> PathBuf {
    let line = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (number, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        let is_it = if hierarchy.unified {
            number == "0"
        } else {
            names.split(',').map(str::to_owned).collect::<Vec<_>>() == hierarchy.controllers
        };
        is_it.then_some(path)
    });
    let path = line.unwrap_or("/");
    // Where the mount shows a part of the hierarchy only, `path` holds what was left of it.
    let root = hierarchy.path.to_string_lossy();
    let below = path.strip_prefix(root.trim_end_matches('/')).unwrap_or(path);
    super::super::mounts::clean(Path::new(below))
}

/// Options of the mount of a hierarchy that are no controllers.
const NOT_CONTROLLERS: [&str; 6] =
    ["rw", "ro", "xattr", "clone_children", "nsdelegate", "noprefix"];

/// A line of mountinfo that is of a hierarchy (`proc_pid_mountinfo(5)`).
struct Mount {
    unified: bool,
    controllers: Vec<String>,
    root: PathBuf,
    at: PathBuf,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (own, of_the_file_system) = line.split_once(" - ")?;
        let mut own = own.split(' ').skip(3);
        let (root, at) = (own.next()?, own.next()?);
        let mut parts = of_the_file_system.split(' ');
        let unified = match parts.next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        // A mount elsewhere is some other container's business.
        let at = Path::new(at);
        if !at.starts_with("/sys/fs/cgroup") {
            return None;
        }
        let is_controller = |option: &&str| {
            !NOT_CONTROLLERS.contains(option) && !option.starts_with("release_agent=")
        };
        let options = parts.nth(1)?.split(',').filter(is_controller);
        let controllers = if unified { Vec::new() } else { options.map(str::to_owned).collect() };
        Some(Self { unified, controllers, root: root.into(), at: at.to_owned() })
    }

    fn into_hierarchy(self) -> Hierarchy {
        let Self { unified, controllers, root, at } = self;
        Hierarchy { unified, controllers, mount: at, path: root }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
77 31 0:32 / /tmp/elsewhere rw - cgroup cgroup rw,memory
";
    const OWN: &str = "4:memory:/a/b\n3:cpu,cpuacct:/\n1:name=systemd:/user\n0::/u\n";

    fn paths(mounts: &str, own: &str, wanted: &str) -> Vec<String> {
        let place = Place::of(mounts, own, Path::new(wanted));
        place.hierarchies.iter().map(|one| one.path.display().to_string()).collect()
    }

    #[test]
    fn an_absolute_path_starts_at_each_hierarchys_root() {
        let place = Place::of(HYBRID, OWN, Path::new("/docker/c"));
        assert!(place.only_unified().is_none());
        assert_eq!(place.hierarchies[0].other_names().collect::<Vec<_>>(), ["cpu", "cpuacct"]);
        assert_eq!(place.hierarchies[2].controllers, ["name=systemd"]);
        assert_eq!(
            paths(HYBRID, OWN, "/docker/../c"),
            [
                "/sys/fs/cgroup/cpu,cpuacct/c",
                "/sys/fs/cgroup/memory/c",
                "/sys/fs/cgroup/systemd/c",
                "/sys/fs/cgroup/unified/c"
            ]
        );
    }

    #[test]
    fn another_path_starts_at_this_processs_own() {
        assert_eq!(
            paths(HYBRID, OWN, "c"),
            [
                "/sys/fs/cgroup/cpu,cpuacct/c",
                "/sys/fs/cgroup/memory/a/b/c",
                "/sys/fs/cgroup/systemd/user/c",
                "/sys/fs/cgroup/unified/u/c"
            ]
        );
    }

    #[test]
    fn in_version_2_alone_it_starts_beside_this_processs_own() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate";
        let own = "0::/user.slice/s.scope\n";
        assert_eq!(paths(mounts, own, "c"), ["/sys/fs/cgroup/user.slice/c"]);
        assert!(Place::of(mounts, own, Path::new("c")).only_unified().is_some());
        assert_eq!(paths(mounts, "0::/\n", "c"), ["/sys/fs/cgroup/c"]);
    }

    #[test]
    fn a_mount_of_a_part_shows_what_is_below_it() {
        let mounts = "31 23 0:28 /docker/x /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids";
        let own = "4:pids:/docker/x/y\n";
        assert_eq!(paths(mounts, own, "c"), ["/sys/fs/cgroup/pids/y/c"]);
    }
}
