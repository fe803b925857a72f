//! Device nodes and links of /dev (config-linux.md, "Default Devices", "/dev symbolic links").

use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Mount};
use rustix::fs::{FileType, Gid, Mode, Uid};

use super::{
    DevicePlan, Error, LinkPlan, Result,
    text::{c_path, c_text, split},
};

const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
const CORE: (&str, &str) = ("core", "/proc/kcore");

/// Whether /dev is the container's own. One that is bound has what it has.
pub(super) fn are_ours(mounts: &[Mount]) -> bool {
    let is_bound = |mount: &Mount| {
        mount.destination() == Path::new("/dev")
            && (mount.typ().as_deref() == Some("bind")
                || mount.options().iter().flatten().any(|it| it == "bind" || it == "rbind"))
    };
    !mounts.iter().any(is_bound)
}

/// The default devices, but for those that are named, and those.
pub(super) fn nodes(named: &[LinuxDevice]) -> Result<Vec<DevicePlan>> {
    let is_named = |path: &str| named.iter().any(|device| device.path() == Path::new(path));
    let default =
        DEFAULT.iter().filter(|(path, ..)| !is_named(path)).map(|&(path, major, minor)| {
            let number = rustix::fs::makedev(major, minor);
            node(Path::new(path), FileType::CharacterDevice, number, 0o666, (0, 0))
        });
    default.chain(named.iter().map(one)).collect()
}

fn one(device: &LinuxDevice) -> Result<DevicePlan> {
    let path = device.path();
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => {
            let why = format!("{} is of no type that a device can be", path.display());
            return Err(Error::config("linux.devices", why));
        }
    };
    let part = |number: i64| {
        u32::try_from(number).map_err(|_| {
            let why = format!("{} has a number that no device has: {number}", path.display());
            Error::config("linux.devices", why)
        })
    };
    let number = match kind {
        FileType::Fifo => 0,
        _ => rustix::fs::makedev(part(device.major())?, part(device.minor())?),
    };
    let owner = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
    node(path, kind, number, device.file_mode().unwrap_or(0o666), owner)
}

fn node(
    path: &Path,
    kind: FileType,
    number: u64,
    mode: u32,
    (user, group): (u32, u32),
) -> Result<DevicePlan> {
    let (directory, name) = split(path)?;
    Ok(DevicePlan {
        directory,
        name,
        kind,
        mode: Mode::from_raw_mode(mode & 0o7777),
        number,
        owner: (Uid::from_raw(user), Gid::from_raw(group)),
        host: c_path(path)?,
    })
}

/// The links of /dev. That to the kernel's memory is there where the memory is.
pub(super) fn links() -> Result<Vec<LinkPlan>> {
    let core = Path::new(CORE.1).exists().then_some(CORE);
    LINKS
        .into_iter()
        .chain(core)
        .map(|(name, target)| {
            let (directory, name) = (c_text("dev")?, c_text(name)?);
            Ok(LinkPlan { target: c_text(target)?, directory, name })
        })
        .collect()
}
