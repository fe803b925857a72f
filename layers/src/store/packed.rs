//! Layers that are made here: packed, compressed, digested and unpacked in one pass.

use std::{
    io::{self, BufRead as _, BufReader, BufWriter, PipeWriter, Read},
    thread,
};

use flate2::{Compression as Level, GzBuilder};

use super::{
    BlobWriter, Store, Work,
    layer::{Added, Form, new_tree},
    pipeline::{self, Job},
};
use crate::{
    compression::Compression,
    error::{Error, Result},
    pack::Archive,
    streams::{Digesting, Tee},
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
            match packing.join() {
                // Where adding failed, the pipe broke.
                Ok(Ok(()) | Err(Error::Write { .. })) => added,
                // The archive ended early then, which is not what to tell.
                Ok(Err(error)) => Err(error),
                Err(panic) => std::panic::resume_unwind(panic),
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
        let blob = GzBuilder::new().write(Digesting::new(BlobWriter::new(work)?), LEVEL);
        let mut input = Tee::new(input, blob);
        let (path, tree) = new_tree(work)?;
        let budget = work.budget();
        let job = Job { form: Form::Tar, tree: Some(tree), budget, what: WHAT };
        let passed = pipeline::read_as(Compression::None, &mut input, job);
        let Tee { writer: blob, write_error, .. } = input;
        let place = work.path("");
        let unwritten = || Error::io("write", &place);
        if let Some(error) = write_error {
            return Err(unwritten()(error));
        }
        let diff_id = passed?.diff_id;
        let (digest, blob) = blob.finish().map_err(unwritten())?.finish();
        let size = blob.size();
        blob.finish(self, work, digest)?;
        work.made().trees.insert(diff_id, path);
        Ok(Some(Added { digest, size, diff_id, compression: Compression::Gzip }))
    }
}
