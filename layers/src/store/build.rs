//! What builds add: layers, step by step, and images of them.
//!
//! ```text
//! ROOT/cache/build/steps/<key>        what a step led to: a layer, or none
//! ROOT/cache/build/steps/<key>.lock   held by who is carrying the step out
//! ROOT/cache/build/leases/<id>        layers that a build under way counts on
//! ROOT/cache/build/leases/<id>.lock   held by that build
//! ```
//!
//! No image leads to the layers of steps. What a step record or a lease names is kept all the same:
//! records until somebody prunes them, leases as long as their build lives.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use oci_spec::image::{Descriptor, MediaType};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Pin, Store, Work,
    graph::Reachable,
    import::{descriptor, unwritable},
    layer::Added,
    refs::{self, index_of},
};
use crate::{
    Digest, Image, Platform, Reference, Snapshot,
    compose::Composition,
    error::{Error, Result},
    files,
    image::digest_of,
    pack::{self, Archive, Omitted},
    union::{Access, UnionFs},
};

/// Steps that nobody took for so long are forgotten.
const UNUSED_MAX: Duration = Duration::from_hours(30 * 24);

/// A layer of the store, as builds know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildLayer {
    pub(crate) descriptor: Descriptor,
    #[serde(with = "digest_text")]
    pub(crate) diff_id: Digest,
}

impl BuildLayer {
    /// The digest of its uncompressed archive.
    #[must_use]
    pub const fn diff_id(&self) -> Digest {
        self.diff_id
    }

    fn of(added: &Added) -> Result<Self> {
        let media_type = super::import::media_type(added.compression);
        let descriptor = descriptor(media_type, added.size, added.digest)?;
        Ok(Self { descriptor, diff_id: added.diff_id })
    }
}

mod digest_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::Digest;

    pub(super) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// What a step of a build led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its layer; none where it changed nothing.
    pub layer: Option<BuildLayer>,
    /// When the newest of what it was made from was changed.
    pub newest: Option<SystemTime>,
}

/// An image that was built, for one platform.
#[derive(Clone, Debug)]
pub struct BuiltImage {
    /// What it was made for.
    pub platform: Platform,
    /// Its config; the list of layers is filled in.
    pub config: Value,
    /// Its layers, the lowest first.
    pub layers: Vec<BuildLayer>,
}

/// Keeps the layers of a build, while it lives, from being removed.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    layers: std::sync::Mutex<Vec<BuildLayer>>,
    lock: Option<Pin>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What stays is removed by the next removal.
        let _ = fs::remove_file(&self.path);
        let lock_path = self.path.with_extension("lock");
        self.lock = None;
        let _ = fs::remove_file(lock_path);
    }
}

/// Held by who carries a step out.
#[derive(Debug)]
pub struct StepLock(#[expect(dead_code, reason = "it is held")] Pin);

impl Store {
    fn build_dir(&self, name: &str) -> PathBuf {
        self.root.join("cache/build").join(name)
    }

    /// Begins a build.
    pub fn lease(&self) -> Result<Lease> {
        let directory = self.build_dir("leases");
        files::make_private_dir(&directory)?;
        files::make_private_dir(&self.build_dir("steps"))?;
        let _pin = self.pin()?;
        let (_, path) = tempfile::Builder::new()
            .prefix("build-")
            .tempfile_in(&directory)
            .and_then(|file| file.keep().map_err(Into::into))
            .map_err(Error::io("write in", &directory))?;
        let lock = Some(Pin::exclusive(&path.with_extension("lock"))?);
        Ok(Lease { path, layers: std::sync::Mutex::default(), lock })
    }

    /// Adds layers to a lease. The store must be pinned.
    fn lend(lease: &Lease, layers: &[BuildLayer]) -> Result<()> {
        let mut all = lease.layers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.extend(layers.iter().cloned());
        let content = serde_json::to_vec(&*all).map_err(unwritable)?;
        fs::write(&lease.path, content).map_err(Error::io("write", &lease.path))
    }

    /// The layers of an image, to build on. A program that is a layer becomes a file in one.
    pub fn base(&self, lease: &Lease, image: &Image) -> Result<Vec<BuildLayer>> {
        let _pin = self.pin()?;
        let layers = if image.has_program() {
            let work = Work::new(self)?;
            let files = self.files(image)?;
            let pack =
                |archive: &mut Archive<_>| pack::pack_tree(&files, &Omitted::default(), archive);
            let added = self.add_packed(&work, pack)?;
            self.settle(&work)?;
            added.iter().map(BuildLayer::of).collect::<Result<_>>()?
        } else {
            // What is missing is unpacked again here.
            self.lowers(image)?;
            let mut layers = Vec::new();
            for (layer, diff_id) in image.layers() {
                let descriptor = super::commit::as_oci(layer)?;
                layers.push(BuildLayer { descriptor, diff_id });
            }
            layers
        };
        Self::lend(lease, &layers)?;
        Ok(layers)
    }

    /// The files that layers show together. A lease must hold them.
    pub fn files_of(&self, layers: &[BuildLayer]) -> Result<UnionFs> {
        let _pin = self.pin()?;
        let (_, image) = image_of(&json!({ "os": "", "architecture": "" }), layers)?;
        let lowers = self.lowers(&image)?;
        let snapshot = Snapshot { lowers, upper: PathBuf::new(), work: PathBuf::new() };
        UnionFs::open(&snapshot, Access::ReadOnly)
            .map_err(|error| pack::unread(error.action, error.path.as_bytes())(error.source))
    }

    /// An image of layers and a config that the store does not hold.
    pub fn image_of_layers(&self, config: &Value, layers: &[BuildLayer]) -> Result<Image> {
        image_of(config, layers).map(|(_, image)| image)
    }

    /// What a step led to, if its layer is there. The lease holds that from now on.
    pub fn step(&self, lease: &Lease, key: &Digest) -> Result<Option<Step>> {
        let _pin = self.pin()?;
        let path = self.build_dir("steps").join(key.hex());
        // A record that cannot be read is like none: the step is carried out again.
        let Some(step) =
            fs::read(&path).ok().and_then(|content| serde_json::from_slice::<Step>(&content).ok())
        else {
            return Ok(None);
        };
        if let Some(layer) = &step.layer {
            let is_whole = self.layer_path(layer.diff_id).is_dir()
                && self.blob_size(digest_of(&layer.descriptor)?)? == Some(layer.descriptor.size());
            if !is_whole {
                return Ok(None);
            }
            Self::lend(lease, std::slice::from_ref(layer))?;
        }
        // Its time says when it was last taken.
        let _ = fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        Ok(Some(step))
    }

    /// Tries to be the one who carries out a step; `None` while another does.
    pub fn lock_step(&self, key: &Digest) -> Result<Option<StepLock>> {
        let path = self.build_dir("steps").join(format!("{}.lock", key.hex()));
        Ok(Pin::try_exclusive(&path)?.map(StepLock))
    }

    /// Keeps what the upper of a snapshot changed as what a step led to. What was changed since the step
    /// `started`, or after `latest`, was changed at `latest`, by what its layer says.
    pub fn keep_changes(
        &self,
        lease: &Lease,
        key: &Digest,
        snapshot: &Snapshot,
        omitted: &Omitted,
        started: SystemTime,
        latest: SystemTime,
    ) -> Result<Step> {
        self.keep(lease, key, None, |archive| {
            archive.clamp(started.min(latest), latest);
            pack::pack_upper(snapshot, omitted, archive)
        })
    }

    /// Keeps a composition as what a step led to. No file of it was changed after `latest`, where
    /// that is given, by what its layer says.
    pub fn keep_composition(
        &self,
        lease: &Lease,
        key: &Digest,
        composition: &Composition<'_>,
        latest: Option<SystemTime>,
    ) -> Result<Step> {
        self.keep(lease, key, composition.newest(), |archive| {
            archive.keep_owners();
            if let Some(latest) = latest {
                archive.clamp(latest, latest);
            }
            composition.pack(archive)
        })
    }

    fn keep(
        &self,
        lease: &Lease,
        key: &Digest,
        newest: Option<SystemTime>,
        pack: impl FnOnce(&mut Archive<std::io::BufWriter<std::io::PipeWriter>>) -> Result<()> + Send,
    ) -> Result<Step> {
        self.collect_after(|| {
            let _pin = self.pin()?;
            let work = Work::new(self)?;
            let added = self.add_packed(&work, pack)?;
            let layer = added.as_ref().map(BuildLayer::of).transpose()?;
            self.settle(&work)?;
            for directory in ["blobs/sha256", "layers"] {
                files::sync_dir(&self.root.join(directory))?;
            }
            Self::lend(lease, layer.as_slice())?;
            let step = Step { layer, newest };
            let content = serde_json::to_vec(&step).map_err(unwritable)?;
            let path = self.build_dir("steps").join(key.hex());
            files::replace(&path, &work.path("step"), &content)?;
            Ok(step)
        })
    }

    /// Makes images visible under all these names, several as an index. Returns what they are called
    /// by: the digest of the manifest or index, and the id.
    pub fn publish_built(
        &self,
        lease: &Lease,
        images: &[BuiltImage],
        names: &[Reference],
    ) -> Result<(Digest, Digest)> {
        let _ = lease;
        self.collect_after(|| {
            let _pin = self.pin()?;
            let work = Work::new(self)?;
            let mut manifests = Vec::new();
            let mut id = None;
            for BuiltImage { platform, config, layers } in images {
                let config =
                    serde_json::to_vec(&with_layers(config, layers)).map_err(unwritable)?;
                id.get_or_insert(Digest::of(&config));
                let layers = layers.iter().map(|layer| layer.descriptor.clone()).collect();
                let mut manifest = self.add_manifest_of(&work, &config, layers)?;
                manifest.set_platform(Some(platform_of(platform)?));
                manifests.push(manifest);
            }
            let target = if let [one] = manifests.as_slice() {
                one.clone()
            } else {
                let index = serde_json::to_vec(&index_of(manifests)).map_err(unwritable)?;
                let digest = self.add_document(&work, &index)?;
                id = Some(digest);
                descriptor(MediaType::ImageIndex, index.len() as u64, digest)?
            };
            self.change_entries(&work, |entries| match names {
                [] => refs::set(entries, &target, None),
                names => names.iter().try_for_each(|name| refs::set(entries, &target, Some(name))),
            })?;
            let digest = digest_of(&target)?;
            Ok((digest, id.unwrap_or(digest)))
        })
    }

    /// Forgets steps that nobody took for long. What their layers take is freed by the next removal.
    pub fn forget_unused_steps(&self) -> Result<()> {
        for path in self.step_records()? {
            let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
            let unused = modified.ok().and_then(|time| time.elapsed().ok());
            if unused.is_some_and(|unused| unused > UNUSED_MAX) {
                remove_quietly(&path)?;
            }
        }
        Ok(())
    }

    /// Forgets all steps, and removes the layers that no image and no build under way needs. Returns
    /// how many steps that were, and the bytes of the disk that are freed.
    pub fn prune_steps(&self) -> Result<(usize, u64)> {
        let _lock = Pin::exclusive(&self.root.join("lock"))?;
        let records = self.step_records()?;
        let mut freed = 0;
        for path in &records {
            freed += super::disk_size(path);
            remove_quietly(path)?;
        }
        for path in entries_of(&self.build_dir("steps"))? {
            // One that is held is in use by a build, which makes a record when it is done.
            if Pin::try_exclusive(&path)?.is_some() {
                remove_quietly(&path)?;
            }
        }
        let work = Work::new(self)?;
        freed += self.collect(&work)?;
        Ok((records.len(), freed))
    }

    pub(super) fn step_records(&self) -> Result<Vec<PathBuf>> {
        let mut paths = entries_of(&self.build_dir("steps"))?;
        paths.retain(|path| path.extension().is_none());
        Ok(paths)
    }

    /// Adds all that steps and builds under way need.
    pub(super) fn reach_builds(&self, reachable: &mut Reachable) -> Result<()> {
        let mut layers: Vec<BuildLayer> = Vec::new();
        for path in self.step_records()? {
            let content = fs::read(&path).unwrap_or_default();
            if let Ok(Step { layer: Some(layer), .. }) = serde_json::from_slice(&content) {
                layers.push(layer);
            }
        }
        for path in entries_of(&self.build_dir("leases"))? {
            if path.extension().is_some() {
                continue;
            }
            let lock_path = path.with_extension("lock");
            if let Some(_lock) = Pin::try_exclusive(&lock_path)? {
                // Its build has ended without a word.
                remove_quietly(&path)?;
                remove_quietly(&lock_path)?;
            } else {
                let content = fs::read(&path).unwrap_or_default();
                layers.extend(
                    serde_json::from_slice::<Vec<BuildLayer>>(&content).unwrap_or_default(),
                );
            }
        }
        for layer in layers {
            reachable.blobs.insert(digest_of(&layer.descriptor)?);
            reachable.diff_ids.insert(layer.diff_id);
        }
        Ok(())
    }
}

fn entries_of(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("list", directory))?,
    };
    let path = |entry: std::io::Result<fs::DirEntry>| Ok(entry?.path());
    entries.map(path).collect::<std::io::Result<_>>().map_err(Error::io("list", directory))
}

/// Removes a file unless another was faster.
fn remove_quietly(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// A config that lists these layers.
fn with_layers(config: &Value, layers: &[BuildLayer]) -> Value {
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let mut config = config.clone();
    config["rootfs"] = json!({ "type": "layers", "diff_ids": diff_ids });
    config
}

fn image_of(config: &Value, layers: &[BuildLayer]) -> Result<(Vec<u8>, Image)> {
    let config = serde_json::to_vec(&with_layers(config, layers)).map_err(unwritable)?;
    let size = config.len() as u64;
    let descriptors: Vec<_> = layers.iter().map(|layer| &layer.descriptor).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageManifest,
        "config": descriptor(MediaType::ImageConfig, size, Digest::of(&config))?,
        "layers": descriptors,
    });
    let manifest = serde_json::to_vec(&manifest).map_err(unwritable)?;
    let image = Image::new(Digest::of(&manifest), &manifest, &config)?;
    Ok((config, image))
}

fn platform_of(platform: &Platform) -> Result<oci_spec::image::Platform> {
    let mut value = json!({ "os": platform.os, "architecture": platform.architecture });
    if let Some(variant) = &platform.variant {
        value["variant"] = json!(variant);
    }
    serde_json::from_value(value).map_err(unwritable)
}
