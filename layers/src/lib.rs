//! OCI images as layers: references, the store, snapshots, and the union file system.
//!
//! This crate describes; it isolates nothing, mounts nothing and knows no network.

#![forbid(unsafe_code)]

pub mod digest;
pub mod platform;
pub mod snapshot;
pub mod tree;

pub use digest::Digest;
pub use platform::Platform;
pub use snapshot::{Lower, Snapshot};
