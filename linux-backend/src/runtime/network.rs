//! Network devices of the host that become a container's (config-linux.md, "Network Devices").

use std::{collections::HashMap, io, os::fd::OwnedFd};

use oci_spec::runtime::{Linux, LinuxNetDevice};
use rustix::fs::{Mode, OFlags};

use super::{Error, Result, namespaces::Wanted, netlink::Netlink};
use crate::plan::Namespaces;

const PROPERTY: &str = "linux.netDevices";
/// What the kernel makes a number of that is not in use.
const TEMPLATE: &str = "%d";
/// `IFNAMSIZ` without the NUL.
const LONGEST: usize = 15;

/// A device, and what it is called in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkDevice {
    pub(crate) host: String,
    pub(crate) name: String,
}

/// The devices of a configuration.
pub(super) fn devices(linux: &Linux, wanted: &Wanted) -> Result<Vec<NetworkDevice>> {
    let Some(named) = linux.net_devices().as_ref().filter(|named| !named.is_empty()) else {
        return Ok(Vec::new());
    };
    if !wanted.has(Namespaces::NETWORK) {
        let why = "unable to move network devices without a private NET namespace";
        return Err(Error::config(PROPERTY, why));
    }
    checked(named)
}

fn checked(named: &HashMap<String, LinuxNetDevice>) -> Result<Vec<NetworkDevice>> {
    let device = |(host, device): (&String, &LinuxNetDevice)| {
        let name = device.name().as_ref().filter(|name| !name.is_empty()).unwrap_or(host);
        for name in [host, name] {
            let known = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
            let fits = !name.is_empty() && name.len() <= LONGEST && !matches!(&**name, "." | "..");
            if !fits || !name.chars().all(known) {
                return Err(Error::config(
                    PROPERTY,
                    format!("invalid network device name `{name}`"),
                ));
            }
        }
        Ok(NetworkDevice { host: host.clone(), name: name.clone() })
    };
    let mut devices = named.iter().map(device).collect::<Result<Vec<_>>>()?;
    devices.sort_by(|one, other| one.host.cmp(&other.host));
    for (index, device) in devices.iter().enumerate() {
        let is_same = |other: &NetworkDevice| other.name == device.name;
        if !device.name.contains(TEMPLATE) && devices[index + 1..].iter().any(is_same) {
            let why = format!("two devices are to be called `{}`", device.name);
            return Err(Error::config(PROPERTY, why));
        }
    }
    Ok(devices)
}

/// Moves devices of this process's namespace into that of the process `pid`.
pub(super) fn give(devices: &[NetworkDevice], pid: i32) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let path = format!("/proc/{pid}/ns/net");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = rustix::fs::open(&path, flags, Mode::empty())
        .map_err(|errno| Error::file("open", &path)(errno.into()))?;
    let asking = || Error::step("ask the kernel about network devices");
    let mut host = Netlink::open().map_err(asking())?;
    let mut inside = Netlink::within(&namespace).map_err(asking())?;
    for device in devices {
        move_one(device, &mut host, &mut inside, &namespace).map_err(|error| {
            let NetworkDevice { host, name } = device;
            Error::step(format!("move the network device {host} into the container as {name}"))(
                error,
            )
        })?;
    }
    Ok(())
}

fn move_one(
    device: &NetworkDevice,
    host: &mut Netlink,
    inside: &mut Netlink,
    namespace: &OwnedFd,
) -> io::Result<()> {
    use std::os::fd::AsFd as _;
    let number = host.find(&device.host)?;
    // As long as it is up: down, it has none of version 6.
    let addresses = host.addresses(number)?;
    host.switch(number, false)?;
    let before = inside.all()?;
    host.give(number, &device.name, namespace.as_fd())?;
    let number = if device.name.contains(TEMPLATE) {
        let after = inside.all()?.into_iter().find(|number| !before.contains(number));
        after.ok_or(io::ErrorKind::NotFound)?
    } else {
        inside.find(&device.name)?
    };
    for address in &addresses {
        inside.add(number, address)?;
    }
    inside.switch(number, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<Vec<NetworkDevice>> {
        checked(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn devices_keep_their_names_unless_they_get_others() {
        let device =
            |host: &str, name: &str| NetworkDevice { host: host.into(), name: name.into() };
        assert_eq!(
            of(r#"{"eth1": {"name": "net0"}, "eth0": {}}"#).unwrap(),
            [device("eth0", "eth0"), device("eth1", "net0")]
        );
        assert!(of(r#"{"a": {"name": "x%d"}, "b": {"name": "x%d"}}"#).is_ok());
    }

    #[test]
    fn names_that_no_device_has_are_refused() {
        for wrong in [
            r#"{"": {}}"#,
            r#"{"..": {}}"#,
            r#"{"a/b": {}}"#,
            r#"{"a": {"name": "much-too-long-for-it"}}"#,
            r#"{"a": {"name": "a b"}}"#,
            r#"{"a": {"name": "x"}, "b": {"name": "x"}}"#,
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_told_by_its_name() {
        let missing = NetworkDevice { host: "no-such".into(), name: "x".into() };
        let own = i32::try_from(std::process::id()).unwrap();
        // Root alone joins a namespace, be it the own one.
        if rustix::process::geteuid().is_root() {
            let told = give(&[missing], own).unwrap_err().to_string();
            assert!(told.contains("no-such"), "{told}");
        }
    }
}
