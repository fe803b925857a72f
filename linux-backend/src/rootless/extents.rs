//! How the ids of this process's user namespace are mapped (`user_namespaces(7)`).

use std::fs;

use silo_layers::tree::{is_privileged, keeps_owners};

use crate::facts::own_ids;

/// Ids that are mapped one to one: a line of `/proc/self/uid_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) inside: u32,
    pub(crate) outside: u32,
    pub(crate) count: u32,
}

/// The ids that this process can hand on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnIds {
    pub(crate) users: Vec<Extent>,
    pub(crate) groups: Vec<Extent>,
}

impl OwnIds {
    pub(crate) fn read() -> Self {
        Self { users: map("/proc/self/uid_map"), groups: map("/proc/self/gid_map") }
    }

    /// Whether there are such a user and such a group.
    pub(crate) fn has(&self, user: u32, group: u32) -> bool {
        let has = |extents: &[Extent], id| extents.iter().any(|extent| extent.find(id).is_some());
        has(&self.users, user) && has(&self.groups, group)
    }
}

impl Extent {
    /// What an id inside is outside.
    fn find(self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.inside).filter(|&offset| offset < self.count)?;
        self.outside.checked_add(offset)
    }
}

fn map(file: &str) -> Vec<Extent> {
    parse(&fs::read_to_string(file).unwrap_or_default())
}

fn parse(text: &str) -> Vec<Extent> {
    let extent = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map_while(|word| word.parse().ok());
        let (inside, outside, count) = (numbers.next()?, numbers.next()?, numbers.next()?);
        Some(Extent { inside, outside, count })
    };
    text.lines().filter_map(extent).collect()
}

/// Whether this process is root of a user namespace that is not the machine's and has more ids than one.
pub(crate) fn hands_ids_on() -> bool {
    keeps_owners() && !is_privileged()
}

/// This process's effective user and group as they are in the user namespace around its own.
pub(crate) fn outer_ids() -> (u32, u32) {
    let own = OwnIds::read();
    let outer =
        |extents: &[Extent], id| extents.iter().find_map(|extent| extent.find(id)).unwrap_or(id);
    let (user, group) = own_ids();
    (outer(&own.users, user), outer(&own.groups, group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_mapped_by_its_extent() {
        let users = parse("         0       1000          1\n         1     100000      65536\n");
        let own = OwnIds { groups: users.clone(), users };
        assert_eq!(own.users[0].find(0), Some(1000));
        assert_eq!(own.users[1].find(33), Some(100_032));
        assert!(own.has(0, 65_536) && !own.has(65_537, 0) && !own.has(0, 65_537));
    }
}
