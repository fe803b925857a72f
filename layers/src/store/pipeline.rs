//! Reading a layer once, with several processors busy.
//!
//! ```text
//! this thread     archive ─> digest ─> blob ─┐
//! a thread                                   └─> decompress ─> digest ─┐
//! a thread                                                             └─> entries ─> tree
//! ```
//!
//! Between one thread and the next is a [`pipe`]. An archive that is not compressed goes to its
//! tree at once: its two digests are one. An error goes down the line behind the bytes before it, so
//! that the first in the archive is the one that is told, as if there were one thread.

use std::{
    io::{self, BufReader, Read},
    panic,
    thread::{self, Scope, ScopedJoinHandle},
};

use crate::{
    Digest,
    compression::Compression,
    error::{Error, Result},
    pipe::{Receiver, Sender, pipe},
    streams::Hashing,
    tree::Writer,
    unpack::{self, End},
};

const BUFFER: usize = 256 << 10;

/// What was found on the way.
pub(super) struct Passed {
    pub(super) compression: Compression,
    /// The digest of the archive as it is.
    pub(super) digest: Digest,
    /// The digest of the uncompressed archive.
    pub(super) diff_id: Digest,
    /// How the uncompressed archive ended, if it was unpacked.
    pub(super) end: Option<End>,
}

/// Reads `archive` to its end, and unpacks it to `tree` if there is one; `what` it is, for messages.
pub(super) fn read(archive: impl Read, tree: Option<Writer>, what: &str) -> Result<Passed> {
    let mut archive = BufReader::with_capacity(BUFFER, archive);
    let compression = Compression::detect(&mut archive, what)?;
    read_as(compression, archive, tree, what)
}

/// The same for an archive that is known to be compressed so.
pub(super) fn read_as(
    compression: Compression,
    archive: impl Read,
    tree: Option<Writer>,
    what: &str,
) -> Result<Passed> {
    let mut archive = Hashing::new(archive);
    let (to_next, from_archive) = pipe();
    thread::scope(|scope| {
        let (uncompressed, decompressing) = if compression == Compression::None {
            (from_archive, None)
        } else {
            let (to_tree, uncompressed) = pipe();
            let decompress = move || decompress(from_archive, compression, to_tree);
            (uncompressed, Some(spawn(scope, "decompress", decompress, what)?))
        };
        let writing = spawn(scope, "unpack", move || write(uncompressed, tree, what), what)?;
        to_next.send_all(&mut archive);
        let diff_id = decompressing.map(join).transpose();
        // The last in line has every error that came down.
        let end = join(writing)?;
        let digest = archive.digest();
        let diff_id = diff_id.map_err(Error::read(what))?.unwrap_or(digest);
        Ok(Passed { compression, digest, diff_id, end })
    })
}

/// Returns the digest of what came out.
fn decompress(
    mut archive: Receiver,
    compression: Compression,
    to_tree: Sender,
) -> io::Result<Digest> {
    let mut content = Hashing::new(compression.decoder(&mut archive));
    let whole = to_tree.send_all(&mut content);
    let digest = content.digest();
    if whole {
        // The archive's digest is of all of it, whatever the decoder left.
        io::copy(&mut archive, &mut io::sink())?;
    }
    Ok(digest)
}

fn write(mut archive: Receiver, tree: Option<Writer>, what: &str) -> Result<Option<End>> {
    let end = tree.map(|tree| unpack::unpack(&mut archive, tree, what)).transpose()?;
    // What follows the archive's end belongs to the digests too.
    io::copy(&mut archive, &mut io::sink()).map_err(Error::read(what))?;
    Ok(end)
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
    what: &str,
) -> Result<ScopedJoinHandle<'scope, T>> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, work)
        .map_err(Error::read(what))
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
}
