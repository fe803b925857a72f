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

use super::Form;
use crate::{
    Digest, artifact,
    budget::Budget,
    compression::Compression,
    error::{Error, Result},
    pipe::{Receiver, Sender, pipe},
    streams::Hashing,
    tarball::End,
    tree::Writer,
    unpack,
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

/// What is done with a layer.
pub(super) struct Job<'a> {
    pub(super) form: Form,
    /// Where it is unpacked, if at all.
    pub(super) tree: Option<Writer>,
    /// How much may be decompressed.
    pub(super) budget: &'a Budget,
    /// What it is, for messages.
    pub(super) what: &'a str,
}

/// Reads `archive` to its end.
pub(super) fn read(archive: impl Read, job: Job<'_>) -> Result<Passed> {
    let mut archive = BufReader::with_capacity(BUFFER, archive);
    let compression = match job.form {
        Form::Program => Compression::None,
        Form::Tar | Form::MarkedTar => Compression::detect(&mut archive, job.what)?,
    };
    read_as(compression, archive, job)
}

/// The same for an archive that is known to be compressed so.
pub(super) fn read_as(
    compression: Compression,
    archive: impl Read,
    job: Job<'_>,
) -> Result<Passed> {
    let Job { form, tree, budget, what } = job;
    let mut archive = Hashing::new(archive);
    let (to_next, from_archive) = pipe();
    thread::scope(|scope| {
        let (uncompressed, decompressing) = if compression == Compression::None {
            (from_archive, None)
        } else {
            let (to_tree, uncompressed) = pipe();
            let decompress = move || decompress(from_archive, compression, budget, to_tree);
            (uncompressed, Some(spawn(scope, "decompress", decompress, what)?))
        };
        let writing = spawn(scope, "unpack", move || write(uncompressed, tree, form, what), what)?;
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
    budget: &Budget,
    to_tree: Sender,
) -> io::Result<Digest> {
    let mut content = Hashing::new(compression.decoder(&mut archive, budget));
    let whole = to_tree.send_all(&mut content);
    let digest = content.digest();
    if whole {
        // The archive's digest is of all of it, whatever the decoder left.
        io::copy(&mut archive, &mut io::sink())?;
    }
    Ok(digest)
}

fn write(
    mut archive: Receiver,
    tree: Option<Writer>,
    form: Form,
    what: &str,
) -> Result<Option<End>> {
    let unpack = |tree| match form {
        Form::Program => artifact::unpack(&mut archive, tree, what).map(|()| End::Marked),
        Form::Tar | Form::MarkedTar => unpack::unpack(&mut archive, tree, what),
    };
    let end = tree.map(unpack).transpose()?;
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::tree::{Directory, Encoding};

    /// More than all pipes hold.
    const LONG: usize = 16 << 20;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// An archive of files that do not compress.
    fn archive(names: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut state = 1_u32;
        for name in names {
            let content: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .take(LONG)
            .collect();
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(LONG as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, content.as_slice()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn unpacked(archive: impl Read) -> (tempfile::TempDir, Result<Passed>) {
        let dir = tempfile::tempdir().unwrap();
        let tree = Writer::new(Directory::open_root(dir.path(), Encoding::host()).unwrap());
        let passed = read_tar(archive, Some(tree));
        (dir, passed)
    }

    fn read_tar(archive: impl Read, tree: Option<Writer>) -> Result<Passed> {
        let budget = Budget::default();
        read(archive, Job { form: Form::Tar, tree, budget: &budget, what: "the layer" })
    }

    #[test]
    fn digests_are_of_all_bytes_compressed_or_not() {
        let mut plain = archive(&["a", "b"]);
        plain.extend(b"after the end");
        for stored in [plain.clone(), gzip(&plain)] {
            let (dir, passed) = unpacked(stored.as_slice());
            let passed = passed.unwrap();
            assert_eq!((passed.digest, passed.diff_id), (Digest::of(&stored), Digest::of(&plain)));
            assert_eq!(passed.end, Some(End::Marked));
            assert_eq!(std::fs::metadata(dir.path().join("b")).unwrap().len(), LONG as u64);
        }
    }

    #[test]
    fn what_is_not_unpacked_is_digested_all_the_same() {
        let plain = archive(&["a"]);
        let passed = read_tar(gzip(&plain).as_slice(), None).unwrap();
        assert_eq!((passed.diff_id, passed.end), (Digest::of(&plain), None));
    }

    #[test]
    fn the_first_error_of_the_archive_is_told_though_a_later_one_was_met_before() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is broken"))
            }
        }
        for stored in [archive(&["../out"]), gzip(&archive(&["../out"]))] {
            let (_dir, passed) = unpacked(stored.as_slice().chain(Broken));
            let error = passed.map(|passed| passed.diff_id).unwrap_err();
            assert!(matches!(error, Error::RefusedEntry { .. }), "{error:?}");
        }
        for stored in [archive(&["a"]), gzip(&archive(&["a"]))] {
            let (_dir, passed) = unpacked(stored.as_slice().chain(Broken));
            let error = passed.map(|passed| passed.diff_id).unwrap_err();
            assert!(
                matches!(&error, Error::Read { source, .. } if source.to_string() == "the disk is broken"),
                "{error:?}"
            );
        }
    }
}
