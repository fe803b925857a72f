//! Devices of the host that a guest is given, and rules over all that it may open.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

/// A device of the host that the guest is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its absolute path on the host, where it exists; of a directory, all devices below.
    pub source: PathBuf,
    /// Its absolute path inside the guest.
    pub destination: String,
    /// What the guest may do with it.
    pub access: DeviceAccess,
}

/// What may be done with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceAccess {
    /// Opened for reading.
    pub read: bool,
    /// Opened for writing.
    pub write: bool,
    /// A node of it made (mknod(2)).
    pub mknod: bool,
}

impl DeviceAccess {
    /// All of it.
    pub const ALL: Self = Self { read: true, write: true, mknod: true };
    /// Making nodes, and opening none.
    pub const MKNOD: Self = Self { read: false, write: false, mknod: true };

    /// Whether all that `other` permits is permitted.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        (self.read || !other.read) && (self.write || !other.write) && (self.mknod || !other.mknod)
    }
}

/// Which devices a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// Those of either kind; such a rule resets all before it.
    All,
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

/// A rule over devices: as in `linux.resources.devices` of the OCI runtime specification, and as a line of
/// `devices.allow` or `devices.deny` (cgroup-v1/devices.rst).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Whether it permits or forbids.
    pub allow: bool,
    /// Which devices.
    pub kind: DeviceKind,
    /// Their major number; `None` is every one.
    pub major: Option<u32>,
    /// Their minor number; `None` is every one.
    pub minor: Option<u32>,
    /// What is permitted or forbidden.
    pub access: DeviceAccess,
}

/// A text that is no access to a device, or no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct InvalidDevice {
    expected: &'static str,
}

impl FromStr for DeviceAccess {
    type Err = InvalidDevice;

    /// Reads some of the letters `rwm`, each once at most.
    fn from_str(text: &str) -> Result<Self, InvalidDevice> {
        let invalid = InvalidDevice { expected: "some of the letters `rwm`" };
        let mut access = Self { read: false, write: false, mknod: false };
        for letter in text.chars() {
            let part = match letter {
                'r' => &mut access.read,
                'w' => &mut access.write,
                'm' => &mut access.mknod,
                _ => return Err(invalid),
            };
            if std::mem::replace(part, true) {
                return Err(invalid);
            }
        }
        if text.is_empty() { Err(invalid) } else { Ok(access) }
    }
}

impl fmt::Display for DeviceAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(self.read, "r"), (self.write, "w"), (self.mknod, "m")];
        letters.iter().filter(|(is_set, _)| *is_set).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

impl FromStr for DeviceRule {
    type Err = InvalidDevice;

    /// Reads a rule that permits, as `docker run --device-cgroup-rule` takes it: `c 42:* rmw`.
    fn from_str(text: &str) -> Result<Self, InvalidDevice> {
        let invalid =
            || InvalidDevice { expected: "`TYPE MAJOR:MINOR ACCESS`, for example `c 42:* rmw`" };
        let words: Vec<_> = text.split(' ').collect();
        let [kind, numbers, access] = words[..] else { return Err(invalid()) };
        let kind = match kind {
            "a" => DeviceKind::All,
            "c" => DeviceKind::Char,
            "b" => DeviceKind::Block,
            _ => return Err(invalid()),
        };
        let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
        let number = |text: &str| match text {
            "*" => Ok(None),
            text => text.parse().map(Some).map_err(|_| invalid()),
        };
        let (major, minor) = (number(major)?, number(minor)?);
        Ok(Self { allow: true, kind, major, minor, access: access.parse()? })
    }
}

impl fmt::Display for DeviceRule {
    /// Without whether it permits or forbids.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::All => "a",
            DeviceKind::Char => "c",
            DeviceKind::Block => "b",
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |n| n.to_string());
        write!(f, "{kind} {}:{} {}", number(self.major), number(self.minor), self.access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_is_some_letters_each_once() {
        for text in ["r", "rw", "rwm", "m"] {
            assert_eq!(text.parse::<DeviceAccess>().unwrap().to_string(), text);
        }
        for wrong in ["", "x", "rr", "rwx", "ro"] {
            assert!(wrong.parse::<DeviceAccess>().is_err(), "{wrong}");
        }
        let read = DeviceAccess { read: true, write: false, mknod: false };
        assert!(DeviceAccess::ALL.contains(read) && !read.contains(DeviceAccess::MKNOD));
    }

    #[test]
    fn a_rule_is_read_as_it_is_written() {
        for text in ["c 42:* rwm", "b 8:16 r", "a *:* rwm"] {
            assert_eq!(text.parse::<DeviceRule>().unwrap().to_string(), text);
        }
        for wrong in ["", "c 42 r", "d 1:1 r", "c 1:1", "c -1:1 r", "c 1:1 r r", "c 1:x r"] {
            assert!(wrong.parse::<DeviceRule>().is_err(), "{wrong}");
        }
    }
}
