//! OCI images as layers: references, the store, snapshots, and the union file system.
//!
//! This crate describes; it isolates nothing, mounts nothing and knows no network.

#![forbid(unsafe_code)]

pub mod archive;
mod artifact;
mod budget;
mod changes;
pub mod compose;
mod compression;
pub mod copy;
pub mod digest;
pub mod error;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod image;
mod limits;
mod media;
mod pack;
mod pipe;
pub mod platform;
pub mod progress;
pub mod reference;
pub mod snapshot;
pub mod store;
mod streams;
mod tarball;
#[cfg(all(test, target_os = "linux"))]
mod tests;
pub mod tree;
pub mod union;
mod unpack;

pub use archive::{Loaded, SaveFormat, Source};
pub use changes::{Change, ChangeKind, compare};
pub use digest::Digest;
pub use error::{Error, Result};
pub use image::Image;
pub use pack::Omitted;
pub use platform::Platform;
pub use progress::{OnProgress, Progress};
pub use reference::Reference;
pub use snapshot::{Lower, Snapshot};
pub use store::{
    BuildLayer, BuiltImage, CheckReport, CommitOptions, Document, ImageSummary, ImageUsage,
    ImportOptions, Incoming, Lease, Outgoing, Pin, Problem, Removed, Share, Step, StepLock, Store,
    Usage, disk_size, timestamp,
};
