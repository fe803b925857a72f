//! OCI images as layers: references, the store, snapshots, and the union file system.
//!
//! This crate describes; it isolates nothing, mounts nothing and knows no network.

#![forbid(unsafe_code)]

pub mod digest;
pub mod error;
mod files;
pub mod image;
mod media;
pub mod platform;
pub mod reference;
pub mod snapshot;
pub mod store;
pub mod tree;
pub mod union;

pub use digest::Digest;
pub use error::{Error, Result};
pub use image::Image;
pub use platform::Platform;
pub use reference::Reference;
pub use snapshot::{Lower, Snapshot};
pub use store::{ImageSummary, Removed, Store};
