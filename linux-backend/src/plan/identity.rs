//! Who the program runs as: ids and capabilities.

use rustix::{
    fs::{Gid, Uid},
    thread::CapabilitySet,
};
use silo_isolation::User;

use super::IdMap;
use crate::{facts::Facts, policy::CAPABILITIES};

/// The ids and capabilities of a process.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) user: Uid,
    pub(crate) group: Gid,
    /// Supplementary groups, or `None` where the process may not set any.
    pub(crate) groups: Option<Vec<Gid>>,
    /// What nobody in the container can have more than.
    pub(crate) bounding: CapabilitySet,
    /// Permitted and effective. None but user 0 has any; inheritable and ambient are empty.
    pub(crate) capabilities: CapabilitySet,
}

impl Identity {
    pub(super) fn new(user: Option<&User>, user_namespace: bool) -> Self {
        let user = user.cloned().unwrap_or_default();
        let bounding = CapabilitySet::from_bits_retain(
            CAPABILITIES.iter().fold(0, |set, capability| set | 1 << capability.number),
        );
        Self {
            user: Uid::from_raw(user.uid),
            group: Gid::from_raw(user.gid),
            // With a single id mapped, no other group exists inside, and setgroups is denied.
            groups: (!user_namespace)
                .then(|| user.additional_gids.iter().copied().map(Gid::from_raw).collect()),
            bounding,
            capabilities: if user.uid == 0 { bounding } else { CapabilitySet::empty() },
        }
    }
}

/// What the child writes to map ids: an unprivileged user may map itself, and nobody else.
pub(super) fn maps(facts: &Facts) -> Vec<IdMap> {
    if !facts.user_namespace() {
        return Vec::new();
    }
    vec![
        IdMap { file: c"/proc/self/setgroups".to_owned(), content: "deny".to_owned() },
        IdMap { file: c"/proc/self/uid_map".to_owned(), content: format!("0 {} 1", facts.uid) },
        IdMap { file: c"/proc/self/gid_map".to_owned(), content: format!("0 {} 1", facts.gid) },
    ]
}
