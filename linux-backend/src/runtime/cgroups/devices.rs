//! Which devices a container may open and make (config-linux.md, "Allowed Device List").

use std::{fs, os::fd::AsFd as _};

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use silo_isolation::{DeviceAccess, DeviceKind, DeviceRule};

use super::{
    super::{Error, Result},
    Cgroups,
};
use crate::{
    devices::{DeviceList, RULES, compile},
    sys,
};

const PROPERTY: &str = "linux.resources.devices";

impl Cgroups {
    /// Holds its processes to the configuration's rules, and to what every container may do beside.
    pub(super) fn limit_devices(&self, rules: &[LinuxDeviceCgroup]) -> Result<()> {
        let rules = rules.iter().map(rule).collect::<Result<Vec<_>>>()?;
        // The first takes everything, which is the configuration's to do.
        let rules = rules.iter().chain(&RULES[1..]);
        let list = DeviceList::of(rules).map_err(|part| {
            let why = format!("`{}` takes a part from a rule for many", part.rule);
            Error::config(PROPERTY, why)
        })?;
        let Some(directory) = self.of("devices") else {
            let what = "no cgroup of this container holds it to devices";
            return Err(Error::Unsupported(what.to_owned()));
        };
        if directory.unified {
            let path = &directory.path;
            let opened = fs::File::open(path).map_err(Error::file("open", path))?;
            let step = format!("attach a program about devices to {} (bpf(2))", path.display());
            return sys::guard_devices(opened.as_fd(), &compile(&list)).map_err(Error::step(step));
        }
        for (file, line) in list.lines() {
            let file = directory.path.join(file);
            fs::write(&file, line).map_err(Error::file("write", &file))?;
        }
        Ok(())
    }
}

fn rule(rule: &LinuxDeviceCgroup) -> Result<DeviceRule> {
    let wrong = |what: String| Error::config(PROPERTY, what);
    let kind = match rule.typ() {
        None | Some(LinuxDeviceType::A) => DeviceKind::All,
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => DeviceKind::Char,
        Some(LinuxDeviceType::B) => DeviceKind::Block,
        Some(LinuxDeviceType::P) => return Err(wrong("a fifo is no device".to_owned())),
    };
    let number = |number: Option<i64>| match number {
        None | Some(-1) => Ok(None),
        Some(number) => u32::try_from(number)
            .map(Some)
            .map_err(|_| wrong(format!("no device has the number {number}"))),
    };
    let access = match rule.access().as_deref().filter(|access| !access.is_empty()) {
        None => DeviceAccess::ALL,
        Some(text) => text.parse().map_err(|_| wrong(format!("`{text}` is no access")))?,
    };
    let (major, minor) = (number(rule.major())?, number(rule.minor())?);
    Ok(DeviceRule { allow: rule.allow(), kind, major, minor, access })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_the_configuration_are_those_of_cgroups() {
        let of = |json: &str| rule(&serde_json::from_str(json).unwrap()).map(|it| it.to_string());
        let all = r#"{"allow": false, "access": "rwm"}"#;
        assert_eq!(of(all).unwrap(), "a *:* rwm");
        let one = r#"{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}"#;
        assert_eq!(of(one).unwrap(), "c 10:229 rw");
        let many = r#"{"allow": true, "type": "b", "major": -1}"#;
        assert_eq!(of(many).unwrap(), "b *:* rwm");
        for wrong in ['x', '7'] {
            let json = format!(r#"{{"allow": true, "type": "c", "access": "{wrong}"}}"#);
            assert!(of(&json).is_err());
        }
        assert!(of(r#"{"allow": true, "type": "c", "major": -2}"#).is_err());
    }
}
