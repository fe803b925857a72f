//! Checking that the store is whole.

use std::{collections::BTreeMap, fs, io};

use super::{Pin, Store, Work, refs::Entry, work};
use crate::{
    Digest, Image, Reference,
    error::{Error, Result},
    image::digest_of,
    streams::Hashing,
};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// How many images were looked at.
    pub images: usize,
    /// How many blobs were compared with their digests.
    pub blobs: usize,
    /// What is damaged or missing. Empty if every image is whole.
    pub problems: Vec<Problem>,
    /// Blobs and layers that no image needs, as a process leaves them that was killed while it
    /// added an image. They do no harm.
    pub unreferenced: usize,
    /// Unfinished work of such processes, which was removed.
    pub abandoned: usize,
}

/// Something damaged or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// What is wrong, in a sentence.
    pub description: String,
    /// Whether it was put right.
    pub repaired: bool,
}

impl CheckReport {
    /// Whether nothing is damaged or missing, or all of it was put right.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.problems.iter().all(|problem| problem.repaired)
    }

    fn found(&mut self, description: String, repaired: bool) {
        self.problems.push(Problem { description, repaired });
    }
}

impl Store {
    /// Compares every blob that an image needs with its digest, and sees that every layer is
    /// unpacked.
    ///
    /// With `repair`, a layer is unpacked again where its blob is whole, a damaged blob is removed so
    /// that loading its image again brings it back, and what no image needs is removed. Waits then
    /// until nobody else uses the store.
    ///
    /// # Errors
    ///
    /// When the store cannot be read at all. What is wrong with it is no error but in the report.
    pub fn check(&self, repair: bool) -> Result<CheckReport> {
        let path = self.root.join("lock");
        let _lock = if repair { Pin::exclusive(&path)? } else { Pin::shared(&path)? };
        let mut report =
            CheckReport { abandoned: work::remove_abandoned(self)?, ..CheckReport::default() };
        let work = Work::new(self)?;
        let mut blobs = BTreeMap::new();
        let mut readable = true;
        for entry in self.entries()? {
            match self.images_under(&entry.descriptor) {
                Ok(images) => {
                    for image in images {
                        report.images += 1;
                        self.check_image(&work, &image, repair, &mut blobs, &mut report)?;
                    }
                }
                Err(error) => {
                    readable = false;
                    report.found(sentence(&entry, &error), false);
                }
            }
        }
        report.blobs = blobs.len();
        // An image that cannot be read does not tell what it needs.
        if readable {
            let needed = self.reachable()?;
            report.unreferenced = self.unreachable("blobs/sha256", &needed.blobs)?.len()
                + self.unreachable("layers", &needed.diff_ids)?.len();
            if repair {
                self.collect(&work)?;
            }
        }
        Ok(report)
    }

    fn check_image(
        &self,
        work: &Work,
        image: &Image,
        repair: bool,
        blobs: &mut BTreeMap<Digest, bool>,
        report: &mut CheckReport,
    ) -> Result<()> {
        for (descriptor, diff_id) in image.layers() {
            let digest = digest_of(descriptor)?;
            let whole = match blobs.get(&digest) {
                Some(whole) => *whole,
                None => self.check_blob(digest, repair, report)?,
            };
            blobs.insert(digest, whole);
            if self.layer_path(diff_id).exists() {
                continue;
            }
            let restored = repair && whole && self.restore_layer(work, descriptor, diff_id).is_ok();
            report.found(format!("layer {diff_id} is not unpacked"), restored);
        }
        blobs.insert(image.digest, true);
        blobs.insert(image.config_digest, true);
        Ok(())
    }

    /// Whether a layer's blob is what its digest says.
    fn check_blob(&self, digest: Digest, repair: bool, report: &mut CheckReport) -> Result<bool> {
        let path = self.blob_path(digest);
        let file = match self.open_blob(digest, "an image") {
            Err(Error::MissingBlob { .. }) => {
                report.found(format!("blob {digest} is missing"), false);
                return Ok(false);
            }
            file => file?,
        };
        let mut hashing = Hashing::new(file);
        io::copy(&mut hashing, &mut io::sink()).map_err(Error::io("read", &path))?;
        if hashing.digest() == digest {
            return Ok(true);
        }
        report.found(format!("blob {digest} does not match its digest"), false);
        if repair {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(false)
    }
}

fn sentence(entry: &Entry, error: &Error) -> String {
    let name = entry.name.as_ref().map_or_else(|| entry.digest.to_string(), Reference::familiar);
    format!("image {name} cannot be read: {error}")
}
