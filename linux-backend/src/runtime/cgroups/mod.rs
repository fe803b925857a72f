//! A container's cgroups: made, limited, frozen and removed. No more than its own directories is
//! written, and in version 2, to give them their controllers, `cgroup.subtree_control` above.

mod devices;
mod place;
mod settings;
mod stats;

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use oci_spec::runtime::LinuxResources;
pub(crate) use place::{Hierarchy, Place};
use serde::{Deserialize, Serialize};
pub(crate) use settings::Setting;
use silo_layers::tree::is_privileged;

use super::{Error, Result, systemd::Unit};

/// The cgroups of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cgroups {
    directories: Vec<Directory>,
    /// The unit of systemd's that they are.
    #[serde(default)]
    pub(crate) unit: Option<Unit>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Directory {
    path: PathBuf,
    /// Those of version 1; none for version 2.
    controllers: Vec<String>,
    unified: bool,
}

/// Files of cpuset that begin empty, and take no task before they are not (cgroup-v1/cpusets.rst).
const INHERITED: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// How long the kernel may take to freeze, or to let go of what has ended.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

impl Cgroups {
    /// Refuses a cgroup that holds what is somebody else's: a process that joins a frozen one stands
    /// still for ever, and the processes of two containers would be killed as one.
    pub(crate) fn refuse_used(&self) -> Result<()> {
        let why = if self.is_frozen() {
            "container's cgroup unexpectedly frozen"
        } else if !self.processes().is_empty() {
            "container's cgroup is not empty"
        } else {
            return Ok(());
        };
        Err(Error::config("linux.cgroupsPath", why))
    }

    /// Makes a directory in each hierarchy. One that may not be made is left out, unless something
    /// is to be limited there.
    pub(crate) fn create(place: &Place) -> Result<Self> {
        let mut cgroups = Self::default();
        let alone = place.only_unified().is_some();
        for hierarchy in &place.hierarchies {
            match make(hierarchy, alone) {
                Ok(()) => cgroups.directories.push(Directory::of(hierarchy)),
                Err(Error::File { source, .. })
                    if matches!(
                        source.kind(),
                        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                    ) => {}
                Err(error) => {
                    let _ = cgroups.remove();
                    return Err(error);
                }
            }
        }
        Ok(cgroups)
    }

    /// Those of a unit, which systemd makes.
    pub(crate) fn of_unit(place: &Place) -> Self {
        let directories = place.hierarchies.iter().map(Directory::of).collect();
        Self { directories, unit: place.unit.clone() }
    }

    /// Whether there is nothing but one cgroup of version 2.
    fn only_unified(&self) -> Option<&Directory> {
        match &self.directories[..] {
            [one] if one.unified => Some(one),
            _ => None,
        }
    }

    /// The files that `resources` come to.
    pub(crate) fn settings(&self, resources: &LinuxResources) -> Result<Vec<Setting>> {
        let mut settings = match self.only_unified() {
            Some(_) => settings::unified(resources)?,
            None => settings::legacy(resources),
        };
        settings.extend(settings::named(resources)?);
        // Beside version 1, that of version 2 has no controllers.
        if self.only_unified().is_none()
            && settings.iter().any(|setting| setting.controller == "unified")
        {
            let what = "invalid configuration: cannot use unified on cgroup v1";
            return Err(Error::Unsupported(what.to_owned()));
        }
        Ok(settings)
    }

    /// Gives the cgroup to `owner`, as far as what it has below is concerned (cgroups(7), "Delegation").
    pub(crate) fn delegate(&self, owner: u32) -> Result<()> {
        const FILES: &str = "/sys/kernel/cgroup/delegate";
        let Some(directory) = self.only_unified() else { return Ok(()) };
        let files = fs::read_to_string(FILES).map_err(Error::file("read", FILES))?;
        let files = files.lines().map(|file| directory.path.join(file));
        let files = files.filter(|file| file.exists());
        for path in [directory.path.clone()].into_iter().chain(files) {
            std::os::unix::fs::chown(&path, Some(owner), None)
                .map_err(Error::file("give away", path))?;
        }
        Ok(())
    }

    /// Holds the processes in it to `resources`.
    pub(crate) fn limit(&self, resources: &LinuxResources) -> Result<()> {
        let wanted = self.settings(resources)?;
        let rules = resources.devices().as_deref().unwrap_or_default();
        // In a user namespace no rule can be set, and none is needed: no device can be made.
        if !rules.is_empty() && is_privileged() {
            self.limit_devices(rules)?;
        }
        // A limit of memory that is above the one of memory and swap is refused as long as that
        // is as it was, and one of these after the other is right in either order.
        let mut again = Vec::new();
        for setting in &wanted {
            match self.write(setting) {
                Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => {
                    again.push(setting);
                }
                written => written?,
            }
        }
        again.into_iter().try_for_each(|setting| self.write(setting))
    }

    fn write(&self, setting: &Setting) -> Result<()> {
        let Some(directory) = self.of(setting.controller) else {
            if setting.optional {
                return Ok(());
            }
            return Err(Error::Unsupported(format!(
                "cannot set {} to {}: no cgroup of this container has the controller `{}`",
                setting.file, setting.value, setting.controller
            )));
        };
        let file = directory.path.join(&setting.file);
        match fs::write(&file, &setting.value) {
            Err(_) if setting.optional && !file.exists() => Ok(()),
            written => written.map_err(Error::file("write", &file)),
        }
    }

    /// The directory that `controller`, by its name in either version, is in.
    fn of(&self, controller: &str) -> Option<&Directory> {
        let legacy =
            |directory: &&Directory| directory.controllers.iter().any(|it| it == controller);
        let unified = |directory: &&Directory| directory.unified;
        self.directories.iter().find(legacy).or_else(|| {
            let alone = self.directories.len() == 1;
            self.directories.iter().find(unified).filter(|_| alone || controller == "unified")
        })
    }

    /// What a process of our own writes "0" to in order to move in: for version 1.
    pub(crate) fn tasks(&self) -> Result<Vec<OwnedFd>> {
        let legacy = self.directories.iter().filter(|one| !one.unified);
        legacy.map(|one| open_for_writing(one.path.join("tasks"))).collect()
    }

    /// The same for every version: where `named` says, `[CONTROLLER,...:]PATH` below the container's
    /// own, and else beside its process `pid`.
    pub(crate) fn entries(&self, pid: i32, named: &[String]) -> Result<Vec<OwnedFd>> {
        let named = named.iter().map(|one| self.named(one)).collect::<Result<Vec<_>>>()?;
        let open = |(index, one): (usize, &Directory)| {
            let below = named.iter().rev().find(|(chosen, _)| chosen.contains(&index));
            let file = if one.unified { "cgroup.procs" } else { "tasks" };
            let place = match below {
                Some((_, below)) => one.path.join(below),
                None if one.unified => one.place_of(pid),
                None => one.path.clone(),
            };
            open_for_writing(place.join(file))
        };
        self.directories.iter().enumerate().map(open).collect()
    }

    /// Which directories a text of `exec --cgroup` is about, and what it names below them.
    fn named(&self, text: &str) -> Result<(Vec<usize>, PathBuf)> {
        let below = |path: &str| {
            let clean = super::mounts::clean(Path::new(path));
            if Path::new("/").join(path).components().eq(Path::new("/").join(&clean).components()) {
                return Ok(clean);
            }
            Err(Error::Unsupported(format!("--cgroup {text}: bad sub cgroup path")))
        };
        let Some((controllers, path)) = text.split_once(':') else {
            return Ok(((0..self.directories.len()).collect(), below(text)?));
        };
        let find = |controller: &str| {
            let has = |one: &Directory| one.controllers.iter().any(|it| it == controller);
            self.directories.iter().position(has).ok_or_else(|| {
                let what = format!("--cgroup {text}: unknown controller `{controller}`");
                Error::Unsupported(format!("{what}: no cgroup of version 1 has it"))
            })
        };
        Ok((controllers.split(',').map(find).collect::<Result<_>>()?, below(path)?))
    }

    /// The directory of version 2, to clone into. That of a unit is systemd's to move into.
    pub(crate) fn unified(&self) -> Result<Option<OwnedFd>> {
        let unified = self.directories.iter().find(|one| one.unified && self.unit.is_none());
        let open = |one: &Directory| {
            fs::File::open(&one.path).map(OwnedFd::from).map_err(Error::file("open", &one.path))
        };
        unified.map(open).transpose()
    }

    /// The processes in it and below, by their numbers on the host.
    pub(crate) fn processes(&self) -> Vec<i32> {
        // A process of the container may have moved within its own part of one hierarchy.
        let mut found = BTreeSet::new();
        if let Some(directory) = self.directories.first() {
            collect(&directory.path, &mut found);
        }
        found.into_iter().collect()
    }

    /// Whether it can be frozen, and whether it is.
    pub(crate) fn is_frozen(&self) -> bool {
        let Some((directory, file, frozen)) = self.freezer() else { return false };
        let state = fs::read_to_string(directory.path.join(file)).unwrap_or_default();
        state.trim() == frozen
    }

    fn freezer(&self) -> Option<(&Directory, &'static str, &'static str)> {
        let directory = self.of("freezer")?;
        Some(if directory.unified {
            (directory, "cgroup.freeze", "1")
        } else {
            (directory, "freezer.state", "FROZEN")
        })
    }

    /// Has its processes stand still.
    pub(crate) fn freeze(&self) -> Result<()> {
        let Some((directory, file, frozen)) = self.freezer() else {
            return Err(Error::Unsupported("no cgroup of this container can freeze it".to_owned()));
        };
        let path = directory.path.join(file);
        fs::write(&path, frozen).map_err(Error::file("write", &path))?;
        let start = Instant::now();
        loop {
            let done = if directory.unified {
                let events = fs::read_to_string(directory.path.join("cgroup.events"));
                events.is_ok_and(|events| events.contains("frozen 1"))
            } else {
                self.is_frozen()
            };
            if done {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                let _ = self.thaw();
                let late = io::Error::from(io::ErrorKind::TimedOut);
                return Err(Error::step("freeze the container")(late));
            }
            thread::sleep(PAUSE);
            if !directory.unified {
                // The kernel looks again at what it missed.
                fs::write(&path, frozen).map_err(Error::file("write", &path))?;
            }
        }
    }

    /// Lets them go on. Nothing to do is success.
    pub(crate) fn thaw(&self) -> Result<()> {
        let Some((directory, file, _)) = self.freezer() else { return Ok(()) };
        let path = directory.path.join(file);
        let running = if directory.unified { "0" } else { "THAWED" };
        match fs::write(&path, running) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            written => written.map_err(Error::file("write", path)),
        }
    }

    /// Kills all processes in it and below at once (Linux 5.14); false where that cannot be.
    pub(crate) fn kill(&self) -> bool {
        // In a hybrid tree a process may be in that of version 1 alone.
        let directory = self.only_unified();
        directory.is_some_and(|one| fs::write(one.path.join("cgroup.kill"), "1").is_ok())
    }

    /// Removes it, with what the container has made in it. Nothing there is success.
    pub(crate) fn remove(&self) -> Result<()> {
        self.directories.iter().try_for_each(|directory| remove(&directory.path))
    }

    /// Whether there is none left.
    pub(crate) fn are_gone(&self) -> bool {
        self.directories.iter().all(|directory| !directory.path.exists())
    }

    /// The number of times that the kernel has killed for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let Some(directory) = self.of("memory") else { return 0 };
        let file = if directory.unified { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(directory.path.join(file)).unwrap_or_default();
        stats::field(&text, "oom_kill").unwrap_or(0)
    }
}

impl Directory {
    fn of(hierarchy: &Hierarchy) -> Self {
        Self {
            path: hierarchy.path.clone(),
            controllers: hierarchy.controllers.clone(),
            unified: hierarchy.unified,
        }
    }

    /// Where the process `pid` is: itself or below. In version 2 a cgroup has processes or cgroups that
    /// controllers are given to (cgroup-v2.rst, "No Internal Process Constraint").
    fn place_of(&self, pid: i32) -> PathBuf {
        let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let path = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let name = self.path.file_name().map(Path::new);
        // What is above the container's own depends on who looks.
        let below = path.zip(name).and_then(|(path, name)| {
            let mut parts = Path::new(path).components();
            parts.by_ref().find(|part| part.as_os_str() == name.as_os_str())?;
            Some(parts.as_path().to_owned())
        });
        self.path.join(below.unwrap_or_default())
    }
}

fn open_for_writing(file: PathBuf) -> Result<OwnedFd> {
    let opened = fs::OpenOptions::new().write(true).open(&file);
    opened.map(OwnedFd::from).map_err(Error::file("open", file))
}

/// Makes a cgroup and those above it that are missing.
fn make(hierarchy: &Hierarchy, gives_controllers: bool) -> Result<()> {
    let below = hierarchy.path.strip_prefix(&hierarchy.mount).unwrap_or(&hierarchy.path);
    let mut path = hierarchy.mount.clone();
    for name in below {
        if hierarchy.unified && gives_controllers {
            enable(&path);
        }
        let above = path.clone();
        path.push(name);
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::file("make the cgroup", &path)(error)),
        }
        if hierarchy.has("cpuset") {
            inherit(&above, &path)?;
        }
    }
    Ok(())
}

/// Gives what is below a directory the controllers that it has. What may not be given is missed where
/// it is to be limited.
fn enable(directory: &Path) {
    let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default();
    let given = read("cgroup.subtree_control");
    let given: Vec<_> = given.split_whitespace().collect();
    let has = read("cgroup.controllers");
    for controller in has.split_whitespace().filter(|name| !given.contains(name)) {
        let _ = fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

fn inherit(above: &Path, directory: &Path) -> Result<()> {
    for name in INHERITED {
        let file = directory.join(name);
        let own = fs::read_to_string(&file).map_err(Error::file("read", &file))?;
        if own.trim().is_empty() {
            let from = above.join(name);
            let value = fs::read_to_string(&from).map_err(Error::file("read", &from))?;
            fs::write(&file, value.trim()).map_err(Error::file("write", &file))?;
        }
    }
    Ok(())
}

fn collect(directory: &Path, found: &mut BTreeSet<i32>) {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for path in below(directory) {
        collect(&path, found);
    }
}

fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.filter(is_directory).map(|entry| entry.path()).collect()
}

fn remove(directory: &Path) -> Result<()> {
    let start = Instant::now();
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // A process that was reaped counts for a moment longer; else there is something below.
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && start.elapsed() < PATIENCE =>
            {
                below(directory).iter().try_for_each(|path| remove(path))?;
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(Error::file("remove the cgroup", directory)(error)),
        }
    }
}
