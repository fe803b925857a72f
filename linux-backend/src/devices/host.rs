//! The host's devices that a container is given.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::FileType;
use silo_isolation::{Device, DeviceAccess, Error, Refusal, Result, Security, Users};

use super::{Id, opens};
use crate::policy::{DEVICES, LINKS};

/// A device of the host's, as it is there, and where it is to be in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) host: PathBuf,
    /// An absolute path.
    pub(crate) guest: String,
    pub(crate) id: Id,
    pub(crate) mode: u32,
    /// User and group.
    pub(crate) owner: (u32, u32),
    pub(crate) access: DeviceAccess,
}

/// What of /dev a container has of its own, besides devices and links.
const OWN: &[&str] = &["console", "pts", "shm", "mqueue"];

/// What is passed over in a directory of devices: Docker's list (runc, `libcontainer/devices`).
const PASSED_OVER: &[&str] =
    &["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "lost+found", "console"];

const DEV: &str = "/dev";

/// All devices that `security` asks for, by their places. Of two for one place it is the last.
pub(crate) fn given(security: &Security) -> Result<Vec<Given>> {
    let mut given = BTreeMap::new();
    let mut add = |device: &Device| {
        let found = find(device).map_err(Error::file("find the device", &device.source))?;
        given.extend(found.into_iter().map(|one| (one.guest.clone(), one)));
        Ok(())
    };
    if security.privileged {
        let all =
            Device { source: DEV.into(), destination: DEV.to_owned(), access: DeviceAccess::ALL };
        add(&all)?;
    }
    security.devices.iter().try_for_each(add)?;
    Ok(given.into_values().filter(|device| !is_own(&device.guest)).collect())
}

/// The place below /dev of a path inside the container.
pub(crate) fn below_dev(guest: &str) -> Option<&str> {
    guest.strip_prefix(DEV)?.strip_prefix('/')
}

/// Whether a container has something of its own at a path.
fn is_own(guest: &str) -> bool {
    let Some(name) = below_dev(guest) else { return false };
    let first = name.split('/').next().unwrap_or_default();
    OWN.contains(&first) || LINKS.iter().any(|(link, _)| *link == first) || DEVICES.contains(&name)
}

/// The device at a path, or all that are below a directory.
fn find(device: &Device) -> io::Result<Vec<Given>> {
    let Device { source, destination, access } = device;
    let found = fs::metadata(source)?;
    if found.is_dir() {
        let mut all = Vec::new();
        walk(source, destination, *access, &mut all)?;
        return Ok(all);
    }
    let one = look_at(source, destination, &found, *access);
    Ok(vec![one.ok_or_else(|| io::Error::other(NO_DEVICE))?])
}

const NO_DEVICE: &str = "it is no device";

fn walk(
    directory: &Path,
    guest: &str,
    access: DeviceAccess,
    all: &mut Vec<Given>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (Ok(found), Some(name)) =
            (entry.metadata(), entry.file_name().to_str().map(String::from))
        else {
            // It went meanwhile, or nothing could name it.
            continue;
        };
        let place = format!("{}/{name}", guest.trim_end_matches('/'));
        if found.is_dir() && !PASSED_OVER.contains(&name.as_str()) {
            match walk(&entry.path(), &place, access, all) {
                // Devices in it are not this user's.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                walked => walked?,
            }
        } else if name != "console" {
            all.extend(look_at(&entry.path(), &place, &found, access));
        }
    }
    Ok(())
}

fn look_at(host: &Path, guest: &str, found: &fs::Metadata, access: DeviceAccess) -> Option<Given> {
    let block = match FileType::from_raw_mode(found.mode()) {
        FileType::BlockDevice => true,
        // 0:0 is a whiteout of overlayfs.
        FileType::CharacterDevice if found.rdev() != 0 => false,
        _ => return None,
    };
    let device = found.rdev();
    Some(Given {
        host: host.to_owned(),
        guest: guest.to_owned(),
        id: Id { block, major: rustix::fs::major(device), minor: rustix::fs::minor(device) },
        mode: found.mode() & 0o7777,
        owner: (found.uid(), found.gid()),
        access,
    })
}

/// All that is asked of devices and cannot be; `users` are those of the container.
pub(crate) fn refusals(security: &Security, users: Users, privileged: bool) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for device in &security.devices {
        let what = || format!("--device {}", device.source.display());
        let mut refuse = |why: String| refusals.push(Refusal::new(what(), why));
        match find(device) {
            Err(error) => refuse(error.to_string()),
            Ok(found) if found.is_empty() => refuse("there is no device in it".to_owned()),
            Ok(_) => {}
        }
        if is_own(&device.destination) && !DEVICES.iter().any(|own| is_at(own, device)) {
            refuse(format!("the container has a {} of its own", device.destination));
        }
        if users != Users::Host && !privileged && !opens(device.access) {
            refuse(format!(
                "without root, no cgroup can hold it to `{}`; give it whole, or not",
                device.access
            ));
        }
    }
    if !security.device_rules.is_empty() && !privileged {
        let why = "without root, no cgroup can hold a container to rules about devices";
        refusals.push(Refusal::new("--device-cgroup-rule", why));
    }
    refusals
}

fn is_at(name: &str, device: &Device) -> bool {
    below_dev(&device.destination) == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(source: &str, destination: &str) -> Device {
        let (source, destination) = (source.into(), destination.to_owned());
        Device { source, destination, access: DeviceAccess::ALL }
    }

    fn asked(devices: Vec<Device>) -> Security {
        Security { devices, ..Security::default() }
    }

    #[test]
    fn a_device_is_found_with_its_numbers() {
        let given = given(&asked(vec![device("/dev/null", "/dev/other/null")])).unwrap();
        assert_eq!(given[0].id, Id { block: false, major: 1, minor: 3 });
        assert_eq!((given[0].guest.as_str(), given[0].mode), ("/dev/other/null", 0o666));
        assert_eq!(below_dev(&given[0].guest), Some("other/null"));
        assert_eq!(below_dev("/devices/x"), None);
    }

    #[test]
    fn what_the_container_has_already_is_not_given_again() {
        assert!(given(&asked(vec![device("/dev/null", "/dev/null")])).unwrap().is_empty());
        let all = given(&Security { privileged: true, ..Security::default() }).unwrap();
        assert!(all.iter().all(|one| !is_own(&one.guest)), "{all:?}");
    }

    #[test]
    fn what_is_no_device_is_refused_and_so_is_a_place_that_is_taken() {
        let refused = |source, destination, privileged| {
            let security = asked(vec![device(source, destination)]);
            refusals(&security, Users::Own, privileged).len()
        };
        assert_eq!(refused("/dev/null", "/dev/other", true), 0);
        assert_eq!(refused("/dev/null", "/dev/null", true), 0);
        assert_eq!(refused("/etc/passwd", "/dev/other", true), 1);
        assert_eq!(refused("/nonexistent", "/dev/other", true), 1);
        assert_eq!(refused("/etc", "/dev/other", true), 1);
        assert_eq!(refused("/dev/null", "/dev/pts/9", true), 1);
    }

    #[test]
    fn without_root_no_device_is_given_in_part() {
        let mut security = asked(vec![device("/dev/null", "/dev/other")]);
        assert!(refusals(&security, Users::Own, false).is_empty());
        security.devices[0].access = "r".parse().unwrap();
        assert_eq!(refusals(&security, Users::Own, false).len(), 1);
        assert!(refusals(&security, Users::Own, true).is_empty());
    }
}
