//! Who the program runs as: ids and capabilities.

use rustix::{
    fs::{Gid, Uid},
    thread::CapabilitySet,
};
use silo_isolation::User;

use super::IdMap;
use crate::{
    facts::IdSource,
    ids,
    policy::Policy,
    rootless::{Extent, OwnIds},
};

/// The ids and capabilities of a process.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Who makes what the container finds.
    pub(crate) owner: (Uid, Gid),
    pub(crate) user: Uid,
    pub(crate) group: Gid,
    /// Supplementary groups, or `None` where the process may not set any.
    pub(crate) groups: Option<Vec<Gid>>,
    /// What nobody in the container can have more than.
    pub(crate) bounding: CapabilitySet,
    pub(crate) capabilities: Capabilities,
}

/// The capabilities of a process (capabilities(7), "Thread capability sets").
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capabilities {
    pub(crate) effective: CapabilitySet,
    pub(crate) permitted: CapabilitySet,
    pub(crate) inheritable: CapabilitySet,
    pub(crate) ambient: CapabilitySet,
}

impl Capabilities {
    /// These for the process itself, and none for its programs beyond.
    pub(crate) const fn only(capabilities: CapabilitySet) -> Self {
        let none = CapabilitySet::empty();
        Self { effective: capabilities, permitted: capabilities, inheritable: none, ambient: none }
    }
}

impl Identity {
    pub(super) fn new(user: Option<&User>, ids: IdSource, policy: &Policy) -> Self {
        let owner = ids.owner();
        let user = user.cloned().unwrap_or_else(|| User {
            uid: owner.0,
            gid: owner.1,
            additional_gids: Vec::new(),
        });
        let bounding = CapabilitySet::from_bits_retain(policy.capabilities.0);
        Self {
            owner: (Uid::from_raw(owner.0), Gid::from_raw(owner.1)),
            user: Uid::from_raw(user.uid),
            group: Gid::from_raw(user.gid),
            // With a single id mapped, no other group exists inside, and setgroups is denied.
            groups: ids
                .has_others()
                .then(|| user.additional_gids.iter().copied().map(Gid::from_raw).collect()),
            bounding,
            capabilities: Capabilities::only(if user.uid == 0 {
                bounding
            } else {
                CapabilitySet::empty()
            }),
        }
    }
}

/// What maps the ids of a user namespace. An unprivileged user may map itself, and nobody else.
pub(super) fn maps(ids: IdSource, own: &OwnIds) -> Vec<IdMap> {
    let map = |file, content: &str| IdMap { file, content: content.to_owned() };
    match ids {
        IdSource::Host => Vec::new(),
        IdSource::Range { first } => {
            let range = format!("0 {first} {}", ids::SIZE);
            vec![map("uid_map", &range), map("gid_map", &range)]
        }
        IdSource::Nested => {
            vec![map("uid_map", &same(&own.users)), map("gid_map", &same(&own.groups))]
        }
        IdSource::Single { own: (uid, gid), inside: (user, group) } => vec![
            map("setgroups", "deny"),
            map("uid_map", &format!("{user} {uid} 1")),
            map("gid_map", &format!("{group} {gid} 1")),
        ],
    }
}

/// Maps what this process has to the same numbers. No line may reach over two of the map around it.
fn same(extents: &[Extent]) -> String {
    let lines =
        extents.iter().map(|Extent { inside, count, .. }| format!("{inside} {inside} {count}"));
    lines.collect::<Vec<_>>().join("\n")
}
