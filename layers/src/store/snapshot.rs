//! Snapshots of images.

use std::{collections::BTreeSet, fs, path::Path};

use super::{Store, Work};
use crate::{
    Digest, Image, Lower, Snapshot,
    error::{Error, Result},
};

/// The digest of an archive of nothing: two empty blocks.
const EMPTY_LAYER: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

impl Store {
    /// The layers of an image with a new upper in `dir`, which exists: makes `upper` and `work`
    /// there.
    ///
    /// A layer whose tree is missing is unpacked again. The store must be pinned, see
    /// [`pin`](Self::pin).
    pub fn snapshot(&self, image: &Image, dir: &Path) -> Result<Snapshot> {
        let mut lowers = self.lowers(image)?;
        if lowers.is_empty() {
            let path = dir.join("empty");
            fs::create_dir(&path).map_err(Error::io("create", &path))?;
            lowers.push(Lower { diff_id: EMPTY_LAYER.parse()?, path });
        }
        let (upper, work) = (dir.join("upper"), dir.join("work"));
        for path in [&upper, &work] {
            fs::create_dir(path).map_err(Error::io("create", path))?;
        }
        inherit(&lowers[0].path, &upper).map_err(Error::io("set the attributes of", &upper))?;
        Ok(Snapshot { lowers, upper, work })
    }

    /// The layers' trees, the topmost first. Of a layer that occurs twice the lower one has no
    /// effect, and overlayfs refuses it.
    pub(super) fn lowers(&self, image: &Image) -> Result<Vec<Lower>> {
        let mut seen: BTreeSet<Digest> = BTreeSet::new();
        let mut lowers = Vec::new();
        let layers: Vec<_> = image.layers().collect();
        for (descriptor, diff_id) in layers.into_iter().rev() {
            if !seen.insert(diff_id) {
                continue;
            }
            let path = self.layer_path(diff_id);
            if !path.exists() {
                self.restore_layer(&Work::new(self)?, descriptor, diff_id)?;
            }
            lowers.push(Lower { diff_id, path });
        }
        Ok(lowers)
    }
}

/// Gives a new upper the mode and owner of the topmost layer's root: they are the container's root
/// directory's.
#[cfg(unix)]
fn inherit(layer: &Path, upper: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

    let (root, own) = (fs::metadata(layer)?, fs::metadata(upper)?);
    if (root.uid(), root.gid()) != (own.uid(), own.gid()) {
        chown(upper, Some(root.uid()), Some(root.gid()))?;
    }
    fs::set_permissions(upper, fs::Permissions::from_mode(root.mode() & 0o7777))
}

#[cfg(not(unix))]
fn inherit(_layer: &Path, _upper: &Path) -> std::io::Result<()> {
    Ok(())
}
