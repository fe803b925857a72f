//! Options of mounts (config.md, "Linux mount options"; mount(8)).

use crate::sys::{Attributes, MountChange};

/// What the options of one mount come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// A tree of the host is shown: with all that is mounted in it where this is true.
    pub(super) bind: Option<bool>,
    /// What is there already gets other attributes.
    pub(super) remount: bool,
    /// Of the mount alone.
    pub(super) change: MountChange,
    /// Of it and what is mounted in it.
    pub(super) recursive: MountChange,
    /// Ids are mapped: in all that is mounted in it, too, where this is true.
    pub(super) id_mapped: Option<bool>,
    /// What the directory holds is copied into the new file system.
    pub(super) copy_up: bool,
    /// The file system's own, in their order.
    pub(super) data: Vec<(String, Option<String>)>,
}

/// What an option does to a mount.
#[derive(Clone, Copy)]
enum Effect {
    Set(Attributes),
    Clear(Attributes),
    /// One of the values of the bits of access times.
    AccessTime(Attributes),
}

use Effect::{AccessTime, Clear, Set};

/// Each has a sibling with `r` before its name, which concerns what is mounted below, too.
const EFFECTS: &[(&str, Effect)] = &[
    ("ro", Set(Attributes::READ_ONLY)),
    ("rw", Clear(Attributes::READ_ONLY)),
    ("nosuid", Set(Attributes::NO_SUID)),
    ("suid", Clear(Attributes::NO_SUID)),
    ("nodev", Set(Attributes::NO_DEV)),
    ("dev", Clear(Attributes::NO_DEV)),
    ("noexec", Set(Attributes::NO_EXEC)),
    ("exec", Clear(Attributes::NO_EXEC)),
    ("nodiratime", Set(Attributes::NO_DIRECTORY_ACCESS_TIME)),
    ("diratime", Clear(Attributes::NO_DIRECTORY_ACCESS_TIME)),
    ("nosymfollow", Set(Attributes::NO_SYMLINK_FOLLOW)),
    ("symfollow", Clear(Attributes::NO_SYMLINK_FOLLOW)),
    ("noatime", AccessTime(Attributes::NO_ACCESS_TIME)),
    ("atime", AccessTime(Attributes(0))),
    ("relatime", AccessTime(Attributes(0))),
    ("norelatime", AccessTime(Attributes(0))),
    ("strictatime", AccessTime(Attributes::STRICT_ACCESS_TIME)),
    ("nostrictatime", AccessTime(Attributes(0))),
];

/// `MS_*` of mount(2). As for effects, a sibling with `r` is recursive.
const PROPAGATIONS: &[(&str, u32)] =
    &[("private", 1 << 18), ("shared", 1 << 20), ("slave", 1 << 19), ("unbindable", 1 << 17)];

/// Nothing to do: what they ask for is so.
const IGNORED: &[&str] = &["defaults", "loud", "silent", "nomand", "noiversion", "async"];

impl Options {
    pub(super) fn parse<'a>(options: impl IntoIterator<Item = &'a str>) -> Self {
        let mut parsed = Self::default();
        for option in options {
            parsed.add(option);
        }
        parsed
    }

    fn add(&mut self, option: &str) {
        match option {
            "bind" => self.bind = self.bind.or(Some(false)),
            "rbind" => self.bind = Some(true),
            "remount" => self.remount = true,
            "idmap" => self.id_mapped = Some(false),
            "ridmap" => self.id_mapped = Some(true),
            "tmpcopyup" => self.copy_up = true,
            _ if IGNORED.contains(&option) => {}
            _ => {
                if let Some(effect) = effect(option) {
                    effect.apply(&mut self.change);
                } else if let Some(effect) = option.strip_prefix('r').and_then(effect) {
                    effect.apply(&mut self.recursive);
                } else if let Some(propagation) = propagation(option) {
                    self.change.propagation = propagation;
                } else if let Some(propagation) = option.strip_prefix('r').and_then(propagation) {
                    self.recursive.propagation = propagation;
                } else {
                    self.data.push(match option.split_once('=') {
                        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                        None => (option.to_owned(), None),
                    });
                }
            }
        }
    }
}

impl Effect {
    /// The later of two options that contradict each other wins.
    fn apply(self, change: &mut MountChange) {
        let (set, clear) = match self {
            Set(attributes) => (attributes, Attributes(0)),
            Clear(attributes) => (Attributes(0), attributes),
            AccessTime(value) => {
                change.set = change.set.without(Attributes::ACCESS_TIME);
                (value, Attributes::ACCESS_TIME)
            }
        };
        change.set = change.set.without(clear).and(set);
        change.clear = change.clear.without(set).and(clear);
    }
}

fn effect(option: &str) -> Option<Effect> {
    EFFECTS.iter().find(|(name, _)| *name == option).map(|&(_, effect)| effect)
}

/// A propagation by its name, as `MS_*`.
pub(super) fn propagation(name: &str) -> Option<u32> {
    PROPAGATIONS.iter().find(|(known, _)| *known == name).map(|&(_, flag)| flag)
}

/// Every option that is not a file system's own: what `features` tells.
pub(crate) fn names() -> Vec<String> {
    let pairs = EFFECTS.iter().map(|(name, _)| *name).chain(PROPAGATIONS.iter().map(|p| p.0));
    let recursive = pairs.clone().map(|name| format!("r{name}"));
    let others = ["bind", "rbind", "remount", "idmap", "ridmap", "tmpcopyup"];
    let plain = pairs.chain(others).chain(IGNORED.iter().copied()).map(str::to_owned);
    let mut names: Vec<_> = plain.chain(recursive).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_of_contradicting_options_wins() {
        let of = |options: &str| Options::parse(options.split(',')).change;
        let change = of("ro,nosuid,rw,noatime,relatime");
        assert_eq!(change.set, Attributes::NO_SUID);
        assert_eq!(change.clear, Attributes::READ_ONLY.and(Attributes::ACCESS_TIME));
        assert_eq!(of("rw,ro").set, Attributes::READ_ONLY);
        assert_eq!(of("rw,ro").clear, Attributes(0));
    }

    #[test]
    fn options_are_of_the_mount_of_all_below_it_or_of_the_file_system() {
        let options = Options::parse(["rbind", "rslave", "rro", "ro", "size=64k", "newinstance"]);
        assert_eq!(options.bind, Some(true));
        assert_eq!(options.change.set, Attributes::READ_ONLY);
        assert_eq!(options.recursive.set, Attributes::READ_ONLY);
        assert_eq!((options.change.propagation, options.recursive.propagation), (0, 1 << 19));
        let data = [("size", Some("64k")), ("newinstance", None)];
        let data = data.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
        assert_eq!(options.data, data);
    }

    #[test]
    fn every_name_is_understood_as_more_than_a_file_systems_option() {
        for name in names() {
            assert!(Options::parse([name.as_str()]).data.is_empty(), "{name}");
        }
    }
}
