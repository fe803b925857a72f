//! Snapshots: a stack of read-only lowers with one upper that takes the changes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The layers of one container, described and not mounted. Whoever realises it, the
/// kernel's overlayfs or the union file system, finds the same trees in the same
/// encoding and leaves its changes in the same upper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The image's layers, the topmost first, as in overlayfs's `lowerdir`. Never written.
    pub lowers: Vec<Lower>,
    /// Where changes go. An empty directory at first.
    pub upper: PathBuf,
    /// overlayfs's `workdir`: empty, on the same file system as `upper`.
    pub work: PathBuf,
}

/// One read-only layer of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lower {
    /// The layer's diffID: the digest of its uncompressed tar archive.
    pub diff_id: Digest,
    /// The layer's tree.
    pub path: PathBuf,
}
