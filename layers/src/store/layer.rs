//! Adding layers: one pass over the archive writes the blob and the tree, and digests both.

use std::{
    io::{self, ErrorKind, Read},
    path::PathBuf,
};

use oci_spec::image::Descriptor;

use super::{
    BlobWriter, Store, Work,
    pipeline::{self, Job, Passed},
};
use crate::{
    Digest, artifact,
    compression::Compression,
    error::{Error, Result},
    image::digest_of,
    progress::{OnProgress, Progress},
    streams::Tee,
    tarball::End,
    tree::{Directory, Encoding, Writer},
};

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
    /// What it is an archive of, and how it must end.
    pub(crate) form: Form,
}

/// What a layer's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A tar archive, compressed or not.
    Tar,
    /// The same, and it must have its end mark, as no digest says where it ends.
    MarkedTar,
    /// A WebAssembly program.
    Program,
}

impl Form {
    /// What a layer with this descriptor is.
    pub(crate) fn of(layer: &Descriptor) -> Self {
        if artifact::is_program(layer.media_type()) { Self::Program } else { Self::Tar }
    }
}

/// A layer that is in the store once its [`Work`] is settled.
#[derive(Clone, Debug)]
pub(crate) struct Added {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) diff_id: Digest,
    pub(crate) compression: Compression,
}

impl Store {
    /// Whether the store has a layer's blob and tree, or will have them with this work.
    pub(crate) fn has_layer(
        &self,
        work: &Work,
        digest: Digest,
        size: u64,
        diff_id: Digest,
    ) -> Result<bool> {
        Ok(self.has_tree(work, diff_id) && self.has_blob(work, digest, size)?)
    }

    fn has_tree(&self, work: &Work, diff_id: Digest) -> bool {
        work.made().trees.contains_key(&diff_id) || self.layer_path(diff_id).exists()
    }

    /// Adds a layer's blob, and unpacks its tree unless the store has it. The store must be pinned.
    pub(crate) fn add_layer(
        &self,
        work: &Work,
        source: Source<'_>,
        progress: OnProgress<'_>,
    ) -> Result<Added> {
        let Source { reader, what, blob, diff_id, form } = source;
        let size = blob.map(|(_, size)| size);
        progress(Progress::Started { layer: what.clone(), size });
        let reader =
            Noting { reader, read: 0, noted: 0, failed: false, work, progress: &mut *progress };
        let mut input = Tee::new(reader, BlobWriter::new(work)?);
        let result = self.read_layer(work, &mut input, &what, diff_id, form);
        let result = result.map_err(|error| damage(&mut input, blob, &error).unwrap_or(error));
        let Tee { writer: blob_writer, write_error, .. } = input;
        if let Some(error) = write_error {
            return Err(Error::io("write", &work.path(""))(error));
        }
        let (Passed { compression, digest, diff_id: found, end }, tree) = result?;
        if form == Form::MarkedTar && end == Some(End::Unmarked) {
            return Err(Error::Truncated { what });
        }
        if let Some(expected) = size.filter(|size| *size != blob_writer.size()) {
            return Err(Error::SizeMismatch { what, expected, found: blob_writer.size() });
        }
        // The blob before the diffID: damage in transport is told from a wrong config.
        if let Some((expected, _)) = blob.filter(|(expected, _)| *expected != digest) {
            let what = format!("blob {expected}");
            return Err(Error::DigestMismatch { what, expected, found: digest });
        }
        check_diff_id(&what, diff_id, found)?;
        let size = blob_writer.size();
        blob_writer.finish(self, work, digest)?;
        progress(Progress::Finished { diff_id: found, known: tree.is_none() });
        work.made().trees.extend(tree.map(|tree| (found, tree)));
        Ok(Added { digest, size, diff_id: found, compression })
    }

    /// Reads a layer to its end. Returns what was found, and its new tree, if any.
    fn read_layer(
        &self,
        work: &Work,
        input: impl Read,
        what: &str,
        diff_id: Option<Digest>,
        form: Form,
    ) -> Result<(Passed, Option<PathBuf>)> {
        let known = diff_id.is_some_and(|diff_id| self.has_tree(work, diff_id));
        let (path, tree) = if known { None } else { Some(new_tree(work)?) }.unzip();
        let job = Job { form, tree, budget: work.budget(), what };
        let passed = pipeline::read(input, job).map_err(|error| full(work, error))?;
        Ok((passed, path))
    }

    /// Unpacks a layer whose tree is missing from its blob.
    pub(crate) fn restore_layer(
        &self,
        work: &Work,
        layer: &Descriptor,
        diff_id: Digest,
    ) -> Result<()> {
        let digest = digest_of(layer)?;
        let what = format!("layer {digest}");
        let archive = self.open_blob(digest, &what)?;
        let (passed, tree) =
            self.read_layer(work, archive, &what, Some(diff_id), Form::of(layer))?;
        check_diff_id(&what, Some(diff_id), passed.diff_id)?;
        work.made().trees.extend(tree.map(|tree| (diff_id, tree)));
        self.settle(work).map(drop)
    }
}

/// Whether an archive that cannot be read is another than its descriptor says, which tells damage in
/// transport from an image that is wrong. Reads what is left of it.
fn damage(
    input: &mut Tee<Noting<'_>, BlobWriter>,
    blob: Option<(Digest, u64)>,
    error: &Error,
) -> Option<Error> {
    let (digest, size) = blob?;
    let of_content = !matches!(error, Error::Io { .. } | Error::Unpack { .. } | Error::Bomb { .. });
    if !of_content || input.reader.failed || input.write_error.is_some() {
        return None;
    }
    io::copy(input, &mut io::sink()).ok()?;
    if input.writer.size() != size {
        let (what, found) = (format!("layer {digest}"), input.writer.size());
        return Some(Error::SizeMismatch { what, expected: size, found });
    }
    let found = input.writer.digest().ok()?;
    let what = format!("blob {digest}");
    (found != digest).then_some(Error::DigestMismatch { what, expected: digest, found })
}

/// Whether blob or tree meets a full disk first is chance, and not told.
fn full(work: &Work, error: Error) -> Error {
    match error {
        Error::Unpack { source, .. }
            if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
        {
            Error::io("write", &work.path(""))(source)
        }
        error => error,
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
    failed: bool,
    work: &'a Work,
    progress: OnProgress<'a>,
}

impl Read for Noting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.reader.read(buffer);
        self.failed |= result.as_ref().is_err_and(|error| error.kind() != ErrorKind::Interrupted);
        let count = result?;
        self.read += count as u64;
        if self.read - self.noted >= STEP {
            self.work.note_read(self.read - self.noted);
            self.noted = self.read;
            (self.progress)(Progress::Advanced { read: self.read });
        }
        Ok(count)
    }
}
