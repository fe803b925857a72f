//! Layers that are made here: packed, compressed, digested and unpacked in one pass.

use std::{
    io::{self, BufRead as _, BufReader, BufWriter, PipeWriter, Read},
    path::PathBuf,
    thread,
};

use flate2::{Compression as Level, GzBuilder, write::GzEncoder};

use super::{
    BlobWriter, Store, Work,
    layer::{Added, new_tree},
};
use crate::{
    Digest,
    compression::Compression,
    error::{Error, Result},
    pack::Archive,
    streams::{Hashing, Tee},
    unpack,
};

const BUFFER: usize = 64 << 10;
/// Text shrinks to a third by this level and to little less by higher ones, which take twice the time.
const LEVEL: Level = Level::new(3);
/// Bytes.
const HEADER: usize = 512;
const WHAT: &str = "the new layer";

impl Store {
    /// Adds a layer of what `pack` writes, or none where that is nothing. The store must be pinned.
    pub(super) fn add_packed(
        &self,
        work: &Work,
        pack: impl FnOnce(&mut Archive<BufWriter<PipeWriter>>) -> Result<()> + Send,
    ) -> Result<Option<Added>> {
        let (reader, writer) = io::pipe().map_err(Error::read(WHAT))?;
        thread::scope(|scope| {
            let packing = scope.spawn(move || {
                let mut archive = Archive::new(BufWriter::with_capacity(BUFFER, writer));
                pack(&mut archive)?;
                archive
                    .finish()?
                    .into_inner()
                    .map(drop)
                    .map_err(|error| Error::Write { what: WHAT, source: error.into_error() })
            });
            let added = self.add_uncompressed(work, reader);
            // Where packing failed the archive ended early, which is not the cause to tell; and
            // where adding failed, the pipe broke.
            match (packing.join(), added) {
                (Ok(Ok(())), added) => added,
                (Ok(Err(Error::Write { .. })), Err(error)) => Err(error),
                (Ok(Err(error)), _) => Err(error),
                (Err(panic), _) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn add_uncompressed(&self, work: &Work, archive: impl Read) -> Result<Option<Added>> {
        let mut input = BufReader::with_capacity(BUFFER, archive);
        let start = input.fill_buf().map_err(Error::read(WHAT))?;
        // The end mark is all zeros, which no header is.
        if start.iter().take(HEADER).all(|&byte| byte == 0) {
            return Ok(None);
        }
        let blob: GzEncoder<BlobWriter> = GzBuilder::new().write(BlobWriter::new(work)?, LEVEL);
        let mut hashing = Hashing::new(Tee::new(input, blob));
        let unpacked = unpack_new(work, &mut hashing);
        let (diff_id, tee) = hashing.finish();
        if let Some(error) = tee.write_error {
            return Err(Error::io("write", &work.path(""))(error));
        }
        let tree = unpacked?;
        let blob = tee.writer.finish().map_err(Error::io("write", &work.path("")))?;
        let size = blob.size();
        let digest = blob.finish(self)?;
        Ok(Some(Added::new(digest, size, diff_id, Compression::Gzip, tree)))
    }
}

fn unpack_new(work: &Work, archive: &mut impl Read) -> Result<PathBuf> {
    let (path, writer) = new_tree(work)?;
    unpack::unpack(BufReader::with_capacity(BUFFER, &mut *archive), writer, WHAT)?;
    io::copy(archive, &mut io::sink()).map_err(Error::read(WHAT))?;
    Ok(path)
}

impl Added {
    const fn new(
        digest: Digest,
        size: u64,
        diff_id: Digest,
        compression: Compression,
        tree: PathBuf,
    ) -> Self {
        Self { digest, size, diff_id, compression, tree: Some(tree) }
    }
}
