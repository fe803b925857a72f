//! Capabilities (capabilities(7)), and who has which.

use rustix::thread::CapabilitySet;
use silo_isolation::{Isolation, Security, Users};

/// A capability.
#[derive(Debug)]
pub(crate) struct Capability {
    pub(crate) name: &'static str,
    /// Its number in linux/capability.h.
    pub(crate) number: u8,
}

const fn capability(name: &'static str, number: u8) -> Capability {
    Capability { name, number }
}

/// All that Linux 6.18 knows.
pub(crate) const CAPABILITIES: &[Capability] = &[
    capability("CAP_CHOWN", 0),
    capability("CAP_DAC_OVERRIDE", 1),
    capability("CAP_DAC_READ_SEARCH", 2),
    capability("CAP_FOWNER", 3),
    capability("CAP_FSETID", 4),
    capability("CAP_KILL", 5),
    capability("CAP_SETGID", 6),
    capability("CAP_SETUID", 7),
    capability("CAP_SETPCAP", 8),
    capability("CAP_LINUX_IMMUTABLE", 9),
    capability("CAP_NET_BIND_SERVICE", 10),
    capability("CAP_NET_BROADCAST", 11),
    capability("CAP_NET_ADMIN", 12),
    capability("CAP_NET_RAW", 13),
    capability("CAP_IPC_LOCK", 14),
    capability("CAP_IPC_OWNER", 15),
    capability("CAP_SYS_MODULE", 16),
    capability("CAP_SYS_RAWIO", 17),
    capability("CAP_SYS_CHROOT", 18),
    capability("CAP_SYS_PTRACE", 19),
    capability("CAP_SYS_PACCT", 20),
    capability("CAP_SYS_ADMIN", 21),
    capability("CAP_SYS_BOOT", 22),
    capability("CAP_SYS_NICE", 23),
    capability("CAP_SYS_RESOURCE", 24),
    capability("CAP_SYS_TIME", 25),
    capability("CAP_SYS_TTY_CONFIG", 26),
    capability("CAP_MKNOD", 27),
    capability("CAP_LEASE", 28),
    capability("CAP_AUDIT_WRITE", 29),
    capability("CAP_AUDIT_CONTROL", 30),
    capability("CAP_SETFCAP", 31),
    capability("CAP_MAC_OVERRIDE", 32),
    capability("CAP_MAC_ADMIN", 33),
    capability("CAP_SYSLOG", 34),
    capability("CAP_WAKE_ALARM", 35),
    capability("CAP_BLOCK_SUSPEND", 36),
    capability("CAP_AUDIT_READ", 37),
    capability("CAP_PERFMON", 38),
    capability("CAP_BPF", 39),
    capability("CAP_CHECKPOINT_RESTORE", 40),
];

/// Podman's eleven.
const DEFAULT: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_SETFCAP",
];

/// What Docker gives beyond.
const DOCKERS_MORE: &[&str] = &["CAP_NET_RAW", "CAP_MKNOD", "CAP_AUDIT_WRITE"];

const EVERY: &str = "ALL";

/// A set of capabilities, a bit for each by its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set(pub(crate) u64);

impl Set {
    fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().filter_map(find).fold(Self::default(), Self::with)
    }

    /// Those of these names that Linux knows.
    pub(crate) fn named(names: impl IntoIterator<Item = String>) -> Self {
        let numbers = names.into_iter().filter_map(|name| find(&name));
        numbers.fold(Self::default(), Self::with)
    }

    fn all() -> Self {
        CAPABILITIES.iter().fold(Self::default(), Self::with)
    }

    /// All that this process can give where there is no user namespace, which has them all.
    fn all_of_own() -> Self {
        let can_give = |capability: &&Capability| {
            let number = CapabilitySet::from_bits_retain(1 << capability.number);
            rustix::thread::capability_is_in_bounding_set(number).unwrap_or(false)
        };
        CAPABILITIES.iter().filter(can_give).fold(Self::default(), Self::with)
    }

    const fn with(self, capability: &Capability) -> Self {
        Self(self.0 | 1 << capability.number)
    }

    /// Those of them that `other` lacks.
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the capability called `name` is among them.
    pub(crate) fn has(self, name: &str) -> bool {
        find(name).is_some_and(|capability| self.0 & (1 << capability.number) != 0)
    }

    /// Their names.
    pub(crate) fn names(self) -> Vec<&'static str> {
        let set = CAPABILITIES.iter().filter(|capability| self.0 & (1 << capability.number) != 0);
        set.map(|capability| capability.name).collect()
    }

    /// What an isolation gives.
    pub(crate) fn given_by(isolation: Isolation) -> Self {
        match isolation {
            Isolation::Default => Self::of(DEFAULT.iter().copied()),
            Isolation::Strict => Self::default(),
            Isolation::Docker => Self::of(DEFAULT.iter().chain(DOCKERS_MORE).copied()),
        }
    }

    /// What is left after all that is asked for, as Docker adds it up. Gives the names that are no
    /// capability's.
    pub(crate) fn asked(security: &Security) -> Result<Self, Vec<String>> {
        let unknown = |names: &[String]| -> Vec<String> {
            names.iter().filter(|name| !is_every(name) && find(name).is_none()).cloned().collect()
        };
        let unknown =
            [unknown(&security.add_capabilities), unknown(&security.drop_capabilities)].concat();
        if !unknown.is_empty() {
            return Err(unknown);
        }
        if security.privileged {
            // Whatever is dropped, as in Docker.
            let hosts = super::users(security) == Users::Host;
            return Ok(if hosts { Self::all_of_own() } else { Self::all() });
        }
        let listed = |names: &[String]| Self::of(names.iter().map(String::as_str));
        let drops_every = security.drop_capabilities.iter().any(|name| is_every(name));
        let adds_every = security.add_capabilities.iter().any(|name| is_every(name));
        let base = match (adds_every, drops_every) {
            (true, _) => Self::all(),
            (false, true) => Self::default(),
            (false, false) => Self::given_by(security.isolation),
        };
        let dropped = listed(&security.drop_capabilities);
        let added = listed(&security.add_capabilities);
        Ok(Self(base.0 & !dropped.0 | added.0))
    }
}

fn is_every(name: &str) -> bool {
    name.eq_ignore_ascii_case(EVERY)
}

/// The capability of a name, with or without its prefix.
fn find(name: &str) -> Option<&'static Capability> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    CAPABILITIES.iter().find(|capability| capability.name.strip_prefix("CAP_") == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(add: &[&str], drop: &[&str]) -> Result<Vec<&'static str>, Vec<String>> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let security = Security {
            add_capabilities: owned(add),
            drop_capabilities: owned(drop),
            ..Security::default()
        };
        Set::asked(&security).map(Set::names)
    }

    #[test]
    fn capabilities_add_up_as_in_docker() {
        assert_eq!(asked(&[], &[]).unwrap(), DEFAULT);
        assert_eq!(asked(&[], &["all"]).unwrap(), [""; 0]);
        assert_eq!(asked(&["net_raw"], &["ALL"]).unwrap(), ["CAP_NET_RAW"]);
        assert_eq!(asked(&["ALL"], &[]).unwrap().len(), 41);
        let all_but_one = asked(&["ALL"], &["CAP_SYS_ADMIN"]).unwrap();
        assert!(all_but_one.len() == 40 && !all_but_one.contains(&"CAP_SYS_ADMIN"));
        assert!(!asked(&[], &["Chown"]).unwrap().contains(&"CAP_CHOWN"));
        assert_eq!(asked(&["CAP_NONE", "x"], &["y"]).unwrap_err(), ["CAP_NONE", "x", "y"]);
    }
}
