//! Which devices the processes of a cgroup may open and make: rules, and what they come to.
//!
//! Version 1 of cgroups keeps a default and exceptions from it, which each rule that is written changes
//! (cgroup-v1/devices.rst). Version 2 asks a program. Here rules come to a default and exceptions
//! as they would in version 1, and both versions are given these.

mod host;
mod program;

use silo_isolation::{Device, DeviceAccess, DeviceKind, DeviceRule, Security};

pub(crate) use host::{Given, below_dev, given, refusals};
pub(crate) use program::compile;

/// What holds where nothing matches, and what is excepted from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceList {
    pub(crate) allows_by_default: bool,
    pub(crate) exceptions: Vec<Exception>,
}

/// Devices for which the default does not hold. Of no other exception it has the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exception {
    pub(crate) numbers: Numbers,
    pub(crate) access: DeviceAccess,
}

/// Devices of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) block: bool,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
}

/// A rule that would take a part from what a wildcard permits or forbids as a whole. Version 1
/// takes it, and does nothing.
#[derive(Debug)]
pub(crate) struct PartOfWildcard {
    pub(crate) rule: DeviceRule,
}

impl DeviceList {
    /// What `rules` come to, one after the other, where before nothing was permitted.
    pub(crate) fn of<'a>(
        rules: impl IntoIterator<Item = &'a DeviceRule>,
    ) -> Result<Self, PartOfWildcard> {
        let mut list = Self { allows_by_default: false, exceptions: Vec::new() };
        rules.into_iter().try_for_each(|rule| list.apply(rule)).map(|()| list)
    }

    fn apply(&mut self, rule: &DeviceRule) -> Result<(), PartOfWildcard> {
        let block = match rule.kind {
            DeviceKind::All => {
                *self = Self { allows_by_default: rule.allow, exceptions: Vec::new() };
                return Ok(());
            }
            DeviceKind::Char => false,
            DeviceKind::Block => true,
        };
        let numbers = Numbers { block, major: rule.major, minor: rule.minor };
        if rule.allow == self.allows_by_default {
            self.no_longer_except(numbers, rule)
        } else {
            self.except(numbers, rule.access);
            Ok(())
        }
    }

    fn except(&mut self, numbers: Numbers, access: DeviceAccess) {
        match self.exceptions.iter_mut().find(|exception| exception.numbers == numbers) {
            Some(known) => known.access = union(known.access, access),
            None => self.exceptions.push(Exception { numbers, access }),
        }
    }

    fn no_longer_except(
        &mut self,
        numbers: Numbers,
        rule: &DeviceRule,
    ) -> Result<(), PartOfWildcard> {
        let punched = |exception: &Exception| {
            exception.numbers != numbers
                && exception.numbers.covers(numbers)
                && is_some(intersection(exception.access, rule.access))
        };
        if self.exceptions.iter().any(punched) {
            return Err(PartOfWildcard { rule: rule.clone() });
        }
        for exception in &mut self.exceptions {
            if exception.numbers == numbers {
                exception.access = difference(exception.access, rule.access);
            }
        }
        self.exceptions.retain(|exception| is_some(exception.access));
        Ok(())
    }

    /// The files of version 1 and what is written into them, in this order.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&'static str, String)> {
        let (default, other) = if self.allows_by_default {
            ("devices.allow", "devices.deny")
        } else {
            ("devices.deny", "devices.allow")
        };
        let exceptions = self.exceptions.iter().map(move |exception| (other, exception.line()));
        std::iter::once((default, "a".to_owned())).chain(exceptions)
    }
}

impl Exception {
    fn line(&self) -> String {
        let Numbers { block, major, minor } = self.numbers;
        let kind = if block { DeviceKind::Block } else { DeviceKind::Char };
        DeviceRule { allow: true, kind, major, minor, access: self.access }.to_string()
    }
}

impl Numbers {
    /// Whether all devices of `other` are among these.
    fn covers(self, other: Self) -> bool {
        let covers = |own: Option<u32>, other| own.is_none() || own == other;
        self.block == other.block
            && covers(self.major, other.major)
            && covers(self.minor, other.minor)
    }
}

const fn union(one: DeviceAccess, other: DeviceAccess) -> DeviceAccess {
    DeviceAccess {
        read: one.read || other.read,
        write: one.write || other.write,
        mknod: one.mknod || other.mknod,
    }
}

const fn difference(one: DeviceAccess, other: DeviceAccess) -> DeviceAccess {
    DeviceAccess {
        read: one.read && !other.read,
        write: one.write && !other.write,
        mknod: one.mknod && !other.mknod,
    }
}

const fn intersection(one: DeviceAccess, other: DeviceAccess) -> DeviceAccess {
    DeviceAccess {
        read: one.read && other.read,
        write: one.write && other.write,
        mknod: one.mknod && other.mknod,
    }
}

const fn is_some(access: DeviceAccess) -> bool {
    access.read || access.write || access.mknod
}

const fn permitted(
    kind: DeviceKind,
    major: Option<u32>,
    minor: Option<u32>,
    access: DeviceAccess,
) -> DeviceRule {
    DeviceRule { allow: true, kind, major, minor, access }
}

const fn node(major: u32, minor: u32) -> DeviceRule {
    permitted(DeviceKind::Char, Some(major), Some(minor), DeviceAccess::ALL)
}

/// What every container may do with devices, where rules hold at all: Docker's list
/// (moby, `oci/devices_linux.go`; runc, `libcontainer/specconv`).
pub(crate) const RULES: &[DeviceRule] = &[
    DeviceRule { allow: false, ..permitted(DeviceKind::All, None, None, DeviceAccess::ALL) },
    permitted(DeviceKind::Char, None, None, DeviceAccess::MKNOD),
    permitted(DeviceKind::Block, None, None, DeviceAccess::MKNOD),
    // null, zero, full, random, urandom
    node(1, 3),
    node(1, 5),
    node(1, 7),
    node(1, 8),
    node(1, 9),
    // tty, console, ptmx, and the terminals of devpts
    node(5, 0),
    node(5, 1),
    node(5, 2),
    permitted(DeviceKind::Char, Some(136), None, DeviceAccess::ALL),
];

/// A device's kind and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) block: bool,
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// The rule by which a given device may be used.
pub(crate) fn rule(id: Id, access: DeviceAccess) -> DeviceRule {
    let kind = if id.block { DeviceKind::Block } else { DeviceKind::Char };
    permitted(kind, Some(id.major), Some(id.minor), access)
}

/// Whether a container's processes are held to rules. In a user namespace nobody makes a node that opens
/// (mknod(2)), and all file systems but those of the nodes that are given are mounted `nodev`: rules have
/// a say only where less is asked for than what the node's mode permits.
pub(crate) fn has_rules(security: &Security, hosts_users: bool) -> bool {
    let is_limited = |device: &Device| !opens(device.access);
    !security.privileged
        && (hosts_users
            || !security.device_rules.is_empty()
            || security.devices.iter().any(is_limited))
}

/// Whether a device is opened for reading and for writing.
pub(crate) const fn opens(access: DeviceAccess) -> bool {
    access.read && access.write
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<DeviceRule> {
        texts
            .iter()
            .map(|text| {
                let (allow, rule) = (text.starts_with('+'), &text[1..]);
                DeviceRule { allow, ..rule.parse().unwrap() }
            })
            .collect()
    }

    fn lines(texts: &[&str]) -> Vec<String> {
        let list = DeviceList::of(&rules(texts)).unwrap();
        list.lines().map(|(file, line)| format!("{file} {line}")).collect()
    }

    #[test]
    fn by_default_what_dockers_containers_may_open_is_allowed() {
        let lines: Vec<_> = DeviceList::of(RULES).unwrap().lines().collect();
        assert_eq!(lines[0], ("devices.deny", "a".to_owned()));
        let allowed: Vec<_> = lines[1..].iter().map(|(_, line)| line.as_str()).collect();
        let expected = [
            "c *:* m",
            "b *:* m",
            "c 1:3 rwm",
            "c 1:5 rwm",
            "c 1:7 rwm",
            "c 1:8 rwm",
            "c 1:9 rwm",
            "c 5:0 rwm",
            "c 5:1 rwm",
            "c 5:2 rwm",
            "c 136:* rwm",
        ];
        assert_eq!(allowed, expected);
    }

    #[test]
    fn later_rules_add_to_earlier_ones_and_take_from_them() {
        let texts = ["+c 1:3 r", "+c 1:3 w", "+b 8:0 rwm", "-b 8:0 w", "-c 9:9 rwm"];
        assert_eq!(
            lines(&texts),
            ["devices.deny a", "devices.allow c 1:3 rw", "devices.allow b 8:0 rm"]
        );
        let texts = ["+c 1:3 r", "-c 1:3 rwm"];
        assert_eq!(lines(&texts), ["devices.deny a"]);
    }

    #[test]
    fn a_rule_over_all_devices_resets() {
        let texts = ["+c 1:3 r", "+a *:* rwm", "-b 8:0 w", "-c 1:3 m"];
        let expected = ["devices.allow a", "devices.deny b 8:0 w", "devices.deny c 1:3 m"];
        assert_eq!(lines(&texts), expected);
        assert_eq!(lines(&[&texts[..], &["-a *:* rwm"]].concat()), ["devices.deny a"]);
    }

    #[test]
    fn no_rule_takes_a_part_from_a_wildcard() {
        for texts in [["+c 10:* rw", "-c 10:229 w"], ["+c *:* m", "-c 10:* m"]] {
            assert!(DeviceList::of(&rules(&texts)).is_err(), "{texts:?}");
        }
        for texts in [["+c 10:* r", "-c 10:229 w"], ["+c 10:* r", "-c 10:* r"]] {
            assert!(DeviceList::of(&rules(&texts)).is_ok(), "{texts:?}");
        }
    }
}
