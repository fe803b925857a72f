//! Control groups: limits, accounting, and a second way to find every process of a sandbox.
//!
//! Only directories of our own are ever written: `silo/ID`, below the root of the hierarchy
//! when we are root, else below the nearest cgroup above us that was delegated to us.
//! Controllers are found where every distribution mounts them, /sys/fs/cgroup, in
//! version 2 (one tree) or version 1 (a tree for each controller).

mod adjust;
mod admit;
mod freezer;
mod hierarchy;
mod settings;

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

pub(crate) use admit::{devices, refusals, why_no_rules};
pub(crate) use freezer::{Freezer, thaw};
pub(crate) use hierarchy::{Controller, Hierarchy};
pub(crate) use settings::{LEAST_NANO_CPUS, cpu_weight, io_weight};
use silo_isolation::{Error, Limits, Result, Stats};

use crate::{
    devices::{self as rules, DeviceList},
    explain,
    sys::{self, BpfInstruction},
};

/// The major and minor numbers of devices, by their paths.
pub(crate) type Devices = BTreeMap<PathBuf, (u32, u32)>;

/// The parent of all our cgroups.
const SILO: &str = "silo";

/// One directory to make, and what to write into its files.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    /// Whether it is of version 2.
    pub(crate) unified: bool,
    /// Controllers to switch on in the directory above, which is ours (version 2).
    pub(crate) controllers: Vec<Controller>,
    /// Files that begin empty and must not stay so: they are filled from the directory above.
    pub(crate) inherited: &'static [&'static str],
    pub(crate) settings: Vec<Setting>,
    /// What it asks about devices (version 2); empty where it does not.
    pub(crate) device_program: Vec<BpfInstruction>,
}

/// One file of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) file: &'static str,
    pub(crate) value: String,
    pub(crate) need: Need,
}

/// What it means that the kernel has no such file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A failure.
    Required,
    /// Nothing: swap accounting can be switched off.
    Optional,
    /// That the setting after this one is in its place; else that one is left out.
    OrNext,
}

/// Whether anything is asked for that takes a cgroup.
pub(crate) fn is_limited(limits: &Limits) -> bool {
    !settings::controllers(limits).is_empty()
}

/// The directories that the limits of sandbox `id` take, and the devices that are `permitted`; none when
/// nothing is limited.
pub(crate) fn directories(
    id: &str,
    limits: &Limits,
    hierarchy: Option<&Hierarchy>,
    devices: &Devices,
    permitted: Option<&DeviceList>,
) -> Vec<Directory> {
    let Some(hierarchy) = hierarchy else { return Vec::new() };
    let mut wanted = settings::controllers(limits);
    match hierarchy {
        _ if wanted.is_empty() && permitted.is_none() => Vec::new(),
        Hierarchy::Unified { base } => vec![Directory {
            path: base.join(SILO).join(id),
            unified: true,
            settings: wanted
                .iter()
                .flat_map(|&controller| settings::unified(controller, limits, devices))
                .collect(),
            controllers: wanted,
            inherited: &[],
            device_program: permitted.map(rules::compile).unwrap_or_default(),
        }],
        Hierarchy::Legacy { mounts } => {
            wanted.extend(permitted.map(|_| Controller::Devices));
            let directory = |controller| {
                let (_, base) = mounts.iter().find(|(mounted, _)| *mounted == controller)?;
                let inherited: &[&str] = match controller {
                    // No task may join before it has both (cgroup-v1/cpusets.rst).
                    Controller::Cpuset => &["cpuset.cpus", "cpuset.mems"],
                    _ => &[],
                };
                Some(Directory {
                    path: base.join(SILO).join(id),
                    unified: false,
                    controllers: Vec::new(),
                    inherited,
                    settings: match (controller, permitted) {
                        (Controller::Devices, Some(list)) => settings::legacy_devices(list),
                        _ => settings::legacy(controller, limits, devices),
                    },
                    device_program: Vec::new(),
                })
            };
            wanted.into_iter().filter_map(directory).collect()
        }
    }
}

/// The cgroups of one sandbox. Removed when dropped.
#[derive(Debug, Default)]
pub(crate) struct Cgroup {
    /// Each with whether it is of version 2.
    directories: Vec<(PathBuf, bool)>,
}

impl Cgroup {
    /// Makes the directories and writes the limits.
    pub(crate) fn create(directories: &[Directory]) -> Result<Self> {
        let mut cgroup = Self::default();
        for directory in directories {
            make(directory)?;
            cgroup.directories.push((directory.path.clone(), directory.unified));
            inherit(directory)?;
            write(directory)?;
            guard_devices(directory)?;
        }
        Ok(cgroup)
    }

    /// What a process of our own writes "0" to in order to move in: for version 1.
    pub(crate) fn tasks(&self) -> Result<Vec<OwnedFd>> {
        let legacy = self.directories.iter().filter(|(_, unified)| !unified);
        legacy.map(|(path, _)| open_for_writing(path.join("tasks"))).collect()
    }

    /// The same for every version.
    pub(crate) fn entries(&self) -> Result<Vec<OwnedFd>> {
        let file = |unified: bool| if unified { "cgroup.procs" } else { "tasks" };
        self.directories
            .iter()
            .map(|(path, unified)| open_for_writing(path.join(file(*unified))))
            .collect()
    }

    /// The directory to clone into: for version 2.
    pub(crate) fn unified(&self) -> Result<Option<OwnedFd>> {
        let unified = self.directories.iter().find(|(_, unified)| *unified);
        let open = |path: &PathBuf| fs::File::open(path).map_err(Error::file("open", path));
        unified.map(|(path, _)| open(path).map(OwnedFd::from)).transpose()
    }

    /// Whether the memory limit has killed a process.
    pub(crate) fn oom_killed(&self) -> bool {
        let kills = |(path, unified): &(PathBuf, bool)| {
            let file = if *unified { "memory.events" } else { "memory.oom_control" };
            let text = fs::read_to_string(path.join(file)).ok()?;
            field(&text, "oom_kill")
        };
        self.directories.iter().filter_map(kills).any(|kills| kills > 0)
    }

    /// What its processes use, as far as its controllers tell.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for (path, unified) in &self.directories {
            let number = |file: &str| {
                fs::read_to_string(path.join(file)).ok().and_then(|text| text.trim().parse().ok())
            };
            stats.pids = stats.pids.or_else(|| number("pids.current"));
            stats.memory = stats.memory.or_else(|| {
                let file = if *unified { "memory.current" } else { "memory.usage_in_bytes" };
                let text = fs::read_to_string(path.join("memory.stat")).unwrap_or_default();
                let name = if *unified { "inactive_file" } else { "total_inactive_file" };
                // As Docker: what the kernel keeps of files and takes back at will is not in use.
                Some(number(file)?.saturating_sub(field(&text, name).unwrap_or_default()))
            });
            stats.cpu_nanos = stats.cpu_nanos.or_else(|| {
                if !unified {
                    return number("cpuacct.usage");
                }
                let text = fs::read_to_string(path.join("cpu.stat")).ok()?;
                field(&text, "usage_usec").map(|micros| micros * 1000)
            });
        }
        stats
    }

    /// The processes in it.
    pub(crate) fn processes(&self) -> Vec<i32> {
        self.directories.first().map(|(path, _)| processes(path)).unwrap_or_default()
    }

    /// Removes the directories, once the last of their processes is gone.
    pub(crate) fn remove(mut self) -> Result<()> {
        self.remove_all()
    }

    fn remove_all(&mut self) -> Result<()> {
        while let Some((path, _)) = self.directories.pop() {
            remove(&path)?;
        }
        Ok(())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Whoever can hear of a failure calls `remove`; `reclaim` tries again.
        let _ = self.remove_all();
    }
}

fn open_for_writing(path: PathBuf) -> Result<OwnedFd> {
    let file = fs::OpenOptions::new().write(true).open(&path);
    file.map(OwnedFd::from).map_err(Error::file("open", path))
}

/// Makes one directory, and the one above it where another has just removed that.
fn make(directory: &Directory) -> Result<()> {
    let path = &directory.path;
    let above = path.parent().unwrap_or(path);
    loop {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::create_dir(above) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(not_permitted(error, above));
                }
                _ => {}
            },
            Err(error) => return Err(not_permitted(error, path)),
            Ok(()) => break,
        }
    }
    enable(directory)
}

/// Switches the controllers on that a directory takes.
fn enable(directory: &Directory) -> Result<()> {
    if !directory.unified {
        return Ok(());
    }
    let names: Vec<_> = directory.controllers.iter().map(|c| format!("+{}", c.name())).collect();
    let above = directory.path.parent().unwrap_or(&directory.path);
    let file = above.join("cgroup.subtree_control");
    fs::write(&file, names.join(" ")).map_err(Error::file("write", file))
}

/// Has a directory of version 2 ask about devices.
fn guard_devices(directory: &Directory) -> Result<()> {
    if directory.device_program.is_empty() {
        return Ok(());
    }
    let path = &directory.path;
    let opened = fs::File::open(path).map_err(Error::file("open", path))?;
    sys::guard_devices(opened.as_fd(), &directory.device_program).map_err(explain::step(format!(
        "attach a program about devices to {} (bpf(2))",
        path.display()
    )))
}

fn not_permitted(error: io::Error, path: &Path) -> Error {
    if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) {
        return Error::NotPermitted {
            what: format!("make the cgroup {}", path.display()),
            hint: hierarchy::DELEGATION_HINT.to_owned(),
            source: error,
        };
    }
    Error::file("make", path)(error)
}

/// Fills what must not be empty, in the directory that all sandboxes share as well.
fn inherit(directory: &Directory) -> Result<()> {
    let ours = directory.path.parent().unwrap_or(&directory.path);
    for path in [ours, &directory.path] {
        for file in directory.inherited {
            let file = path.join(file);
            if read(&file)?.trim().is_empty()
                && let (Some(above), Some(name)) = (path.parent(), file.file_name())
            {
                let value = read(&above.join(name))?;
                fs::write(&file, value.trim()).map_err(Error::file("write", &file))?;
            }
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).map_err(Error::file("read", file))
}

/// Writes what a directory is to hold. A value that is refused as long as another is as it was (a
/// limit of memory above that of memory and swap) is written once more after the others.
fn write(directory: &Directory) -> Result<()> {
    let mut again = Vec::new();
    for setting in directory.chosen() {
        match setting.write(&directory.path) {
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => {
                again.push(setting);
            }
            result => result?,
        }
    }
    again.into_iter().try_for_each(|setting| setting.write(&directory.path))
}

impl Directory {
    /// The settings without those in whose place there is another.
    fn chosen(&self) -> Vec<&Setting> {
        let mut chosen = Vec::with_capacity(self.settings.len());
        let mut settings = self.settings.iter();
        while let Some(setting) = settings.next() {
            if setting.need == Need::OrNext {
                if !self.path.join(setting.file).exists() {
                    continue;
                }
                settings.next();
            }
            chosen.push(setting);
        }
        chosen
    }
}

impl Setting {
    fn write(&self, directory: &Path) -> Result<()> {
        let file = directory.join(self.file);
        match fs::write(&file, &self.value) {
            // A cgroup file system does not say "not found" when it is asked to make a file.
            Err(_) if self.need == Need::Optional && !file.exists() => Ok(()),
            result => result.map_err(Error::file("write", file)),
        }
    }
}

/// Kills what is in a cgroup and removes it. Nothing there is success.
pub(crate) fn destroy(path: &Path) -> Result<()> {
    for _ in 0..ATTEMPTS {
        for pid in processes(path) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid)
                && let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
                // Between the reading and the opening the number may have become another's.
                && processes(path).contains(&pid.as_raw_nonzero().get())
            {
                let _ = sys::send_signal(pidfd.as_fd(), 9);
            }
        }
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::sleep(PAUSE),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::file("remove", path)(error));
            }
            _ => break,
        }
    }
    freezer::remove(path)?;
    remove(path)
}

/// A process that was reaped may count for a moment longer.
const PAUSE: Duration = Duration::from_millis(1);
const ATTEMPTS: usize = 2000;

fn remove(path: &Path) -> Result<()> {
    let mut attempt = 0;
    loop {
        match fs::remove_dir(path) {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && attempt < ATTEMPTS => {
                attempt += 1;
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(Error::file("remove", path)(error)),
        }
    }
    // The directory that all sandboxes share goes with the last of them.
    let _ = path.parent().map(fs::remove_dir);
    Ok(())
}

fn processes(path: &Path) -> Vec<i32> {
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The number after `name` in lines of `name number`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.parse().ok())?
    })
}
