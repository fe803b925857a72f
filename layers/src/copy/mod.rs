//! Copies between a guest's files and the host's, as `docker cp` makes them.
//!
//! Every copy travels as a tar archive, from whoever has the one side to whoever has the other:
//!
//! ```text
//! HostSource::pack ──► GuestFiles::copy_in          GuestFiles::copy_out ──► unpack_host
//! ```
//!
//! A guest that runs may be in another process, and all that the archive says is checked where it
//! is unpacked. Copies have the permissions and times of what they are copies of.

mod collect;
pub(crate) mod entries;
mod extract;
mod guest;
mod place;
#[cfg(all(test, unix))]
mod tests;

use std::io::{BufReader, BufWriter, PipeWriter, Read, Write, pipe};

pub use self::{
    collect::HostSource,
    extract::unpack_host,
    guest::{
        CopyIn, CopyOut, Given, GuestFiles, GuestTree, IdRange, LiveTree, Mounted, Seen, Volume,
        Xattrs, copy_pieces,
    },
    place::{CopyError, Source},
};
use crate::{
    budget::Budget,
    compression::Compression,
    error::{Error, Result},
    tree,
};

/// How much of an archive is on its way at once, in bytes.
const BUFFER: usize = 64 << 10;

const NO_OWNERS: &str = "only root can give files away, on Linux";

/// Whether files that this process makes for guests can be somebody else's; if not, why, in one clause.
pub fn keeps_owners() -> Result<(), &'static str> {
    if tree::keeps_owners() { Ok(()) } else { Err(NO_OWNERS) }
}

/// What an archive that may be compressed holds.
pub fn decompressed<'a>(archive: &'a mut dyn Read) -> Result<Box<dyn Read + 'a>> {
    let mut input = BufReader::with_capacity(BUFFER, archive);
    let compression = Compression::detect(&mut input, entries::WHAT)?;
    Ok(compression.decoder(input, &Budget::default()))
}

/// Runs both sides of a copy, `pack` on a thread. What failed first is told: who reads from
/// somebody that failed, or writes to him, fails in turn.
pub fn transfer<P: Send, U>(
    pack: impl FnOnce(&mut dyn Write) -> Result<P, CopyError> + Send,
    unpack: impl FnOnce(&mut dyn Read) -> Result<U, CopyError>,
) -> Result<(P, U), CopyError> {
    let failed = |source| Error::Write { what: entries::WHAT, source };
    let (reader, writer) = pipe().map_err(failed)?;
    std::thread::scope(|scope| {
        let packing = std::thread::Builder::new()
            .name("pack".to_owned())
            .spawn_scoped(scope, move || pack_into(writer, pack))
            .map_err(failed)?;
        let mut reader = BufReader::with_capacity(BUFFER, reader);
        let unpacked = unpack(&mut reader);
        // Its end of the pipe is closed: a writer to it fails and does not wait.
        drop(reader);
        let packed = packing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (packed, unpacked) {
            (Ok(packed), unpacked) => Ok((packed, unpacked?)),
            (Err(error), Err(_)) if !is_broken_pipe(&error) => Err(error),
            (Err(_), Err(error)) | (Err(error), Ok(_)) => Err(error),
        }
    })
}

fn pack_into<P>(
    writer: PipeWriter,
    pack: impl FnOnce(&mut dyn Write) -> Result<P, CopyError>,
) -> Result<P, CopyError> {
    let mut writer = BufWriter::with_capacity(BUFFER, writer);
    let packed = pack(&mut writer)?;
    writer.flush().map_err(|source| Error::Write { what: entries::WHAT, source })?;
    Ok(packed)
}

fn is_broken_pipe(error: &CopyError) -> bool {
    matches!(
        error,
        CopyError::Host(Error::Write { source, .. })
            if source.kind() == std::io::ErrorKind::BrokenPipe
    )
}
