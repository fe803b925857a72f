//! Where cgroups can be made on this host.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, AtFlags, CWD};
use silo_layers::tree::is_privileged;

/// A controller that limits are held by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Cpuset,
    Pids,
    Io,
    /// Of version 1 alone: version 2 asks a program, whatever controllers a cgroup has.
    Devices,
}

impl Controller {
    pub(crate) const ALL: [Self; 6] =
        [Self::Memory, Self::Cpu, Self::Cpuset, Self::Pids, Self::Io, Self::Devices];

    /// Its name in version 2.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Pids => "pids",
            Self::Io => "io",
            Self::Devices => "devices",
        }
    }

    /// Its name in version 1.
    pub(crate) const fn legacy_name(self) -> &'static str {
        match self {
            Self::Io => "blkio",
            _ => self.name(),
        }
    }
}

/// The directories below which we may make cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hierarchy {
    /// Version 2.
    Unified {
        /// A cgroup that has the controllers to give.
        base: PathBuf,
    },
    /// Version 1.
    Legacy {
        /// The base of each controller that is mounted.
        mounts: Vec<(Controller, PathBuf)>,
    },
}

/// What would allow an unprivileged user to limit a container.
pub(super) const DELEGATION_HINT: &str = "run silo in a cgroup that is delegated to you: \
     `systemd-run --user --scope -p Delegate=yes silo ...`";

const MOUNTS: &str = "/sys/fs/cgroup";
const CGROUP2_SUPER_MAGIC: i128 = 0x6367_7270;
const CGROUP_SUPER_MAGIC: i128 = 0x0027_e0eb;

impl Hierarchy {
    /// Finds where we may make cgroups, or says why nowhere.
    pub(crate) fn detect() -> Result<Self, String> {
        let mounts = Path::new(MOUNTS);
        let own = fs::read_to_string("/proc/self/cgroup")
            .map_err(|error| format!("/proc/self/cgroup cannot be read: {error}"))?;
        let root = is_privileged();
        if magic(mounts) == Some(CGROUP2_SUPER_MAGIC) {
            let found = unified(mounts, unified_path(&own), root);
            return found.map(|base| Self::Unified { base });
        }
        let mounts: Vec<_> = Controller::ALL
            .into_iter()
            .map(|controller| (controller, mounts.join(controller.legacy_name())))
            .filter(|(_, path)| magic(path) == Some(CGROUP_SUPER_MAGIC))
            .filter_map(|(controller, path)| {
                let base =
                    if root { path } else { delegated(&path, legacy_path(&own, controller))? };
                Some((controller, base))
            })
            .collect();
        if mounts.is_empty() {
            return Err(if root {
                format!("no cgroup controller is mounted below {MOUNTS}")
            } else {
                "no cgroup is delegated to this user, and with cgroup v1 none can be safely"
                    .to_owned()
            });
        }
        Ok(Self::Legacy { mounts })
    }

    /// Where the freezer of version 1 has, or would have, the sandbox that has the directory
    /// `cgroup` in another hierarchy.
    pub(super) fn freezer(cgroup: &Path) -> Option<PathBuf> {
        let mount = Path::new(MOUNTS).join("freezer");
        let usable = is_privileged() && magic(&mount) == Some(CGROUP_SUPER_MAGIC);
        usable.then(|| Some(mount.join(super::SILO).join(cgroup.file_name()?)))?
    }

    pub(crate) const fn is_unified(&self) -> bool {
        matches!(self, Self::Unified { .. })
    }

    /// Whether `controller` is to be had.
    pub(crate) fn has(&self, controller: Controller) -> bool {
        match self {
            Self::Unified { .. } if controller == Controller::Devices => true,
            Self::Unified { base } => {
                let control = base.join("cgroup.subtree_control");
                enabled(&control, controller)
            }
            Self::Legacy { mounts } => mounts.iter().any(|(mounted, _)| *mounted == controller),
        }
    }

    /// Why a controller is not to be had. In version 2 the cgroup above may have it and not give it,
    /// as systemd does with those that no unit asked for; that cgroup is not ours to write.
    pub(super) fn why_without(&self, controller: Controller) -> String {
        let missing = |name: &str| format!("the cgroup controller `{name}` is not available here");
        match self {
            Self::Unified { base } => {
                let name = controller.name();
                let has = enabled(&base.join("cgroup.controllers"), controller);
                let file = base.join("cgroup.subtree_control");
                let enable = format!(", before `echo +{name} >{}` as root", file.display());
                missing(name) + if has { &enable } else { "" }
            }
            Self::Legacy { .. } => missing(controller.legacy_name()),
        }
    }

    /// Whether cgroups have one of `files`, as far as those tell that there are: the root of a
    /// hierarchy lacks some.
    pub(super) fn offers(&self, files: &[&str]) -> bool {
        let has = |directory: &Path| files.iter().any(|file| directory.join(file).exists());
        self.bases().any(|base| {
            let below = fs::read_dir(base).into_iter().flatten().flatten();
            has(base) || below.map(|entry| entry.path()).any(|path| has(&path))
        })
    }

    /// The processors or memory nodes that a cgroup can have: what the base has in `file`.
    pub(super) fn available(&self, file: &str) -> Option<String> {
        let effective = if self.is_unified() { ".effective" } else { "" };
        let read = |base: &Path| fs::read_to_string(base.join(format!("{file}{effective}"))).ok();
        self.bases().find_map(read).map(|text| text.trim().to_owned())
    }

    fn bases(&self) -> impl Iterator<Item = &Path> {
        let (unified, mounts) = match self {
            Self::Unified { base } => (Some(base.as_path()), &[][..]),
            Self::Legacy { mounts } => (None, mounts.as_slice()),
        };
        unified.into_iter().chain(mounts.iter().map(|(_, base)| base.as_path()))
    }
}

fn magic(path: &Path) -> Option<i128> {
    rustix::fs::statfs(path).ok().map(|found| i128::from(found.f_type))
}

fn enabled(file: &Path, controller: Controller) -> bool {
    let enabled = fs::read_to_string(file).unwrap_or_default();
    enabled.split_ascii_whitespace().any(|name| name == controller.name())
}

/// The nearest cgroup at or above our own that gives controllers and that we may write, or as root
/// the root itself.
fn unified(mounts: &Path, own: &str, root: bool) -> Result<PathBuf, String> {
    let gives = |base: &Path| {
        Controller::ALL.into_iter().any(|c| enabled(&base.join("cgroup.subtree_control"), c))
    };
    if root && gives(mounts) {
        return Ok(mounts.to_owned());
    }
    let own = mounts.join(own.trim_start_matches('/'));
    own.ancestors()
        .take_while(|path| path.starts_with(mounts))
        .find(|path| gives(path) && writable(path) && writable(&path.join("cgroup.procs")))
        .map(Path::to_owned)
        .ok_or_else(|| format!("no cgroup that gives controllers is delegated: {DELEGATION_HINT}"))
}

fn delegated(mount: &Path, own: &str) -> Option<PathBuf> {
    let own = mount.join(own.trim_start_matches('/'));
    (own != mount && writable(&own) && writable(&own.join("tasks"))).then_some(own)
}

/// Whether the effective user may write `path`.
fn writable(path: &Path) -> bool {
    rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// Our path in version 2, from lines of `number:controllers:path`.
fn unified_path(own: &str) -> &str {
    own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/")
}

fn legacy_path(own: &str, controller: Controller) -> &str {
    let path = own.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == controller.legacy_name()).then_some(path)
    });
    path.unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "9:name=systemd:/\n4:memory:/a/b\n2:cpu,cpuacct:/c\n0::/user.slice/x\n";

    #[test]
    fn our_own_cgroup_is_read_of_either_version() {
        assert_eq!(unified_path(HYBRID), "/user.slice/x");
        assert_eq!(legacy_path(HYBRID, Controller::Memory), "/a/b");
        assert_eq!(legacy_path(HYBRID, Controller::Cpu), "/c");
        assert_eq!(legacy_path(HYBRID, Controller::Pids), "/");
    }

    #[test]
    fn a_cgroup_gives_the_controllers_that_its_file_names() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("cgroup.subtree_control"), "cpuset memory pids\n").unwrap();
        let hierarchy = Hierarchy::Unified { base: base.path().to_owned() };
        assert!(hierarchy.has(Controller::Memory) && hierarchy.has(Controller::Pids));
        assert!(!hierarchy.has(Controller::Cpu));
        assert!(!hierarchy.why_without(Controller::Cpu).contains("echo"));
        fs::write(base.path().join("cgroup.controllers"), "cpuset cpu memory pids\n").unwrap();
        assert!(hierarchy.why_without(Controller::Cpu).contains("echo +cpu >"));
    }
}
