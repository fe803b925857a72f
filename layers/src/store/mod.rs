//! The store: images, their blobs and their unpacked layers in one directory.
//!
//! ```text
//! ROOT/oci-layout, index.json, blobs/sha256/   an OCI image layout, which other tools can read
//! ROOT/layers/<diffID>/                        layers unpacked, in the host's tree encoding
//! ROOT/cache/                                  what backends and builds keep; may be deleted at any time
//! ROOT/tmp/                                    unfinished work, each with a lock of its maker
//! ROOT/lock                                    shared while adding, exclusive while removing
//! ROOT/index.lock                              exclusive while index.json changes
//! ```
//!
//! Blobs and trees are made in `tmp`, synced and renamed: what stands under its final name is whole,
//! and is never written again. A function that returns has made durable what it promises.

mod blobs;
mod build;
mod check;
mod commit;
pub(crate) mod graph;
mod images;
mod import;
mod index;
mod layer;
mod lock;
mod packed;
mod pipeline;
mod receive;
pub(crate) mod refs;
mod remove;
mod resolve;
mod send;
mod snapshot;
#[cfg(test)]
mod tests;
mod usage;
mod work;
mod writeback;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub(crate) use self::{
    blobs::{BlobWriter, DOCUMENT_MAX},
    layer::{Added, Form, Source as LayerSource},
    work::Work,
};
pub use self::{
    build::{BuildLayer, BuiltImage, Lease, Step, StepLock},
    check::{CheckReport, Problem},
    commit::CommitOptions,
    images::ImageSummary,
    import::{ImportOptions, timestamp},
    lock::Pin,
    receive::{Document, Incoming},
    remove::Removed,
    send::Outgoing,
    usage::{ImageUsage, Share, Usage, disk_size},
};
use crate::{
    Digest,
    budget::Budget,
    error::{Error, Result},
    files,
};

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const EMPTY_INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// Images in layers, in a directory of the host.
///
/// Several processes may use one store at once.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    /// Bytes that one operation may decompress, whatever from; none for the default.
    unpacked_max: Option<u64>,
}

impl Store {
    /// The store in the directory `root`, which is made on first use.
    ///
    /// Removes what processes that were killed have left unfinished.
    ///
    /// # Errors
    ///
    /// When `root` cannot be made or written to, or is a directory with other content.
    pub fn open(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).map_err(Error::io("find", root))?;
        let store = Self { root, unpacked_max: None };
        let layout = store.root.join("oci-layout");
        match fs::read(&layout) {
            Ok(content) => check_layout(&store.root, &content)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => store.create()?,
            Err(error) => return Err(Error::io("read", &layout)(error)),
        }
        work::remove_abandoned(&store)?;
        Ok(store)
    }

    /// The same store with another limit to decompression: what one operation adds may become
    /// `bytes`, and beyond that 200 times as much as it is compressed. The default is 16 GiB, which
    /// is far from what images are and short of what fills disks.
    #[must_use]
    pub fn with_unpacked_max(self, bytes: u64) -> Self {
        Self { unpacked_max: Some(bytes), ..self }
    }

    fn budget(&self) -> Budget {
        self.unpacked_max.map_or_else(Budget::default, Budget::new)
    }

    /// The directory that the store is in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a backend keeps what it can make again. The backend makes the directory.
    #[must_use]
    pub fn cache_dir(&self, name: &str) -> PathBuf {
        self.root.join("cache").join(name)
    }

    /// Keeps every image as it is until the guard is dropped: held from resolving an image until
    /// what uses it is recorded, so that the image cannot be removed in between.
    pub fn pin(&self) -> Result<Pin> {
        Pin::shared(&self.root.join("lock"))
    }

    /// `oci-layout` comes last: a store without it is made again.
    fn create(&self) -> Result<()> {
        files::make_private_dir(&self.root)?;
        self.refuse_other_content()?;
        let _lock = Pin::exclusive(&self.root.join("lock"))?;
        for name in ["blobs/sha256", "layers", "cache", "tmp"] {
            files::make_private_dir(&self.root.join(name))?;
        }
        for (name, content) in [("index.json", EMPTY_INDEX), ("oci-layout", LAYOUT)] {
            let path = self.root.join(name);
            if !path.exists() {
                files::replace(&path, &self.root.join("tmp/.new"), content.as_bytes())?;
            }
        }
        Ok(())
    }

    fn refuse_other_content(&self) -> Result<()> {
        const OURS: [&str; 6] = ["lock", "blobs", "layers", "cache", "tmp", "index.json"];
        for entry in fs::read_dir(&self.root).map_err(Error::io("list", &self.root))? {
            let name = entry.map_err(Error::io("list", &self.root))?.file_name();
            if name != "oci-layout" && !OURS.iter().any(|ours| name == *ours) {
                let reason = "it holds other files";
                return Err(Error::NotAStore { path: self.root.clone(), reason });
            }
        }
        Ok(())
    }

    /// Where the unpacked layer with this diffID is, or would be.
    pub(crate) fn layer_path(&self, diff_id: Digest) -> PathBuf {
        self.root.join("layers").join(diff_id.hex())
    }
}

fn check_layout(root: &Path, content: &[u8]) -> Result<()> {
    let version = serde_json::from_slice(content).ok().and_then(|layout: serde_json::Value| {
        Some(layout.get("imageLayoutVersion")?.as_str()?.to_owned())
    });
    let reason = match version.as_deref() {
        Some("1.0.0") => return Ok(()),
        Some(_) => "its layout has a version that is not 1.0.0",
        None => "its file `oci-layout` is damaged",
    };
    Err(Error::NotAStore { path: root.to_owned(), reason })
}
