//! Snapshots of images.

use std::{collections::BTreeSet, fs, io, path::Path};

use super::{Store, Work};
use crate::{
    Digest, Image, Lower, Snapshot,
    error::{Error, Result},
    tree::{Directory, Encoding},
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
    /// effect, and overlayfs refuses it. Below one whose root is opaque there is nothing to see, which
    /// overlayfs does not know: it looks at the marks of directories that it finds by their names.
    pub(super) fn lowers(&self, image: &Image) -> Result<Vec<Lower>> {
        let mut seen: BTreeSet<Digest> = BTreeSet::new();
        let mut lowers = Vec::new();
        let layers: Vec<_> = image.layers().collect();
        for (descriptor, diff_id) in layers.into_iter().rev() {
            if !seen.insert(diff_id) {
                continue;
            }
            let path = self.layer_path(diff_id);
            let is_opaque = || Directory::is_root_opaque(&path, Encoding::host());
            let hides_rest = match is_opaque() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.restore_layer(&Work::new(self)?, descriptor, diff_id)?;
                    is_opaque()
                }
                result => result,
            };
            let hides_rest = hides_rest.map_err(Error::io("look at", &path))?;
            lowers.push(Lower { diff_id, path });
            if hides_rest {
                break;
            }
        }
        Ok(lowers)
    }
}

/// Gives a new upper the mode and owner of the topmost layer's root: they are the container's root
/// directory's.
#[cfg(unix)]
fn inherit(layer: &Path, upper: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

    let (root, own) = (fs::metadata(layer)?, fs::metadata(upper)?);
    if (root.uid(), root.gid()) != (own.uid(), own.gid()) {
        chown(upper, Some(root.uid()), Some(root.gid()))?;
    }
    fs::set_permissions(upper, fs::Permissions::from_mode(root.mode() & 0o7777))
}

#[cfg(not(unix))]
fn inherit(_layer: &Path, _upper: &Path) -> io::Result<()> {
    Ok(())
}
