//! Adding layers: one pass over the archive writes the blob and the tree, and digests both.

use std::{
    io::{self, BufReader, Read},
    path::PathBuf,
};

use super::{BlobWriter, Store, Work};
use crate::{
    Digest,
    compression::Compression,
    error::{Error, Result},
    files,
    progress::{OnProgress, Progress},
    streams::{Hashing, Tee},
    tree::{Directory, Encoding, Writer},
    unpack::{self, End},
};

const BUFFER: usize = 256 << 10;
/// How many bytes go by between two notes of progress.
const STEP: u64 = 1 << 20;

/// A layer that is to be added, and what is known of it.
pub(crate) struct Source<'a> {
    /// The archive, compressed or not.
    pub(crate) reader: &'a mut dyn Read,
    /// What it is, for messages: `layer sha256:...`.
    pub(crate) what: String,
    /// Digest and size in bytes of the archive as it is, where a descriptor says them.
    pub(crate) blob: Option<(Digest, u64)>,
    /// The digest of the uncompressed archive, where a config says it.
    pub(crate) diff_id: Option<Digest>,
    /// Whether the archive must have its end mark, as no digest says where it ends.
    pub(crate) marked: bool,
}

/// A layer whose blob is in the store.
#[derive(Clone, Debug)]
pub(crate) struct Added {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) diff_id: Digest,
    pub(crate) compression: Compression,
    /// Where the tree is until [`Store::keep_trees`] moves it; none if the store had it.
    pub(super) tree: Option<PathBuf>,
}

impl Store {
    /// Whether the store has a layer's blob and tree.
    pub(crate) fn has_layer(&self, digest: Digest, size: u64, diff_id: Digest) -> Result<bool> {
        Ok(self.layer_path(diff_id).exists() && self.blob_size(digest)? == Some(size))
    }

    /// Adds a layer's blob, and unpacks its tree unless the store has it. The store must be pinned.
    pub(crate) fn add_layer(
        &self,
        work: &Work,
        source: Source<'_>,
        progress: OnProgress<'_>,
    ) -> Result<Added> {
        let Source { reader, what, blob, diff_id, marked } = source;
        let size = blob.map(|(_, size)| size);
        progress(Progress::Started { layer: what.clone(), size });
        let reader = Noting { reader, read: 0, noted: 0, progress: &mut *progress };
        let tee = Tee::new(reader, BlobWriter::new(work)?);
        let mut input = BufReader::with_capacity(BUFFER, tee);
        let result = self.read_layer(work, &mut input, &what, diff_id, marked);
        let input = input.into_inner();
        if let Some(error) = input.write_error {
            return Err(Error::io("write", &work.path(""))(error));
        }
        let (compression, found, tree) = result?;
        if let Some(expected) = size.filter(|size| *size != input.writer.size()) {
            return Err(Error::SizeMismatch { what, expected, found: input.writer.size() });
        }
        // The blob before the diffID: damage in transport is told from a wrong config.
        let size = input.writer.size();
        let digest = match blob {
            Some((digest, _)) => input.writer.matches(digest).map(|()| digest)?,
            None => input.writer.digest(),
        };
        check_diff_id(&what, diff_id, found)?;
        input.writer.finish(self)?;
        progress(Progress::Finished { diff_id: found, known: tree.is_none() });
        Ok(Added { digest, size, diff_id: found, compression, tree })
    }

    /// Reads a layer to its end. Returns how it was compressed, its diffID and its new tree, if any.
    fn read_layer(
        &self,
        work: &Work,
        input: &mut BufReader<impl Read>,
        what: &str,
        diff_id: Option<Digest>,
        marked: bool,
    ) -> Result<(Compression, Digest, Option<PathBuf>)> {
        let compression = Compression::detect(input, what)?;
        let mut hashing = Hashing::new(compression.decoder(&mut *input));
        let known = diff_id.is_some_and(|diff_id| self.layer_path(diff_id).exists());
        let tree = if known {
            None
        } else {
            let (path, writer) = new_tree(work)?;
            let archive = BufReader::with_capacity(BUFFER, &mut hashing);
            if unpack::unpack(archive, writer, what)? == End::Unmarked && marked {
                return Err(Error::Truncated { what: what.to_owned() });
            }
            Some(path)
        };
        // What follows the archive's end belongs to the digests too.
        io::copy(&mut hashing, &mut io::sink()).map_err(Error::read(what))?;
        let found = hashing.digest();
        io::copy(input, &mut io::sink()).map_err(Error::read(what))?;
        Ok((compression, found, tree))
    }

    /// Puts unpacked trees in their places, after they are on the disk.
    pub(crate) fn keep_trees<'a>(
        &self,
        work: &Work,
        layers: impl IntoIterator<Item = &'a Added>,
    ) -> Result<()> {
        let trees: Vec<_> = layers
            .into_iter()
            .filter_map(|layer| layer.tree.as_ref().map(|tree| (tree, layer.diff_id)))
            .collect();
        if trees.is_empty() {
            return Ok(());
        }
        files::sync_tree(&work.path(""))?;
        for (tree, diff_id) in trees {
            let target = self.layer_path(diff_id);
            match files::move_tree(tree, &target) {
                // Another process was faster, or the image has the layer twice.
                Err(_) if target.exists() => files::remove_tree(tree)?,
                result => result?,
            }
        }
        files::sync_dir(&self.root.join("layers"))
    }

    /// Unpacks a layer whose tree is missing from its blob.
    pub(crate) fn restore_layer(&self, work: &Work, digest: Digest, diff_id: Digest) -> Result<()> {
        let what = format!("layer {digest}");
        let mut input = BufReader::with_capacity(BUFFER, self.open_blob(digest, &what)?);
        let (compression, found, tree) =
            self.read_layer(work, &mut input, &what, Some(diff_id), false)?;
        check_diff_id(&what, Some(diff_id), found)?;
        self.keep_trees(work, &[Added { digest, size: 0, diff_id, compression, tree }])
    }
}

pub(super) fn new_tree(work: &Work) -> Result<(PathBuf, Writer)> {
    let parent = work.path("");
    let path = tempfile::Builder::new()
        .prefix("tree-")
        .tempdir_in(&parent)
        .map_err(Error::io("write in", &parent))?
        .keep();
    let root = Directory::open_root(&path, Encoding::host()).map_err(Error::io("open", &path))?;
    Ok((path, Writer::new(root)))
}

fn check_diff_id(what: &str, expected: Option<Digest>, found: Digest) -> Result<()> {
    match expected {
        Some(expected) if expected != found => {
            let what = format!("the uncompressed {what}");
            Err(Error::DigestMismatch { what, expected, found })
        }
        _ => Ok(()),
    }
}

/// Notes how much was read.
struct Noting<'a> {
    reader: &'a mut dyn Read,
    read: u64,
    noted: u64,
    progress: OnProgress<'a>,
}

impl Read for Noting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.read += count as u64;
        if self.read - self.noted >= STEP {
            self.noted = self.read;
            (self.progress)(Progress::Advanced { read: self.read });
        }
        Ok(count)
    }
}
