//! Blobs: content under its own digest.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write},
    path::PathBuf,
};

use super::{Store, Work};
use crate::{
    Digest,
    error::{Error, Result},
    streams::Hashing,
};

/// The longest manifest, index or config that is read into memory, in bytes.
pub(crate) const DOCUMENT_MAX: u64 = 16 << 20;

impl Store {
    /// Where the blob is, or would be.
    pub(crate) fn blob_path(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// The blob's size in bytes, if the store has it.
    pub(crate) fn blob_size(&self, digest: Digest) -> Result<Option<u64>> {
        let path = self.blob_path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("look at", &path)(error)),
        }
    }

    /// The blob, opened; `what` needs it.
    pub(crate) fn open_blob(&self, digest: Digest, what: &str) -> Result<File> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::MissingBlob { what: what.to_owned(), digest },
            _ => Error::io("open", &path)(error),
        })
    }

    /// A manifest, index or config, compared with its digest.
    pub fn document(&self, digest: Digest, what: &str) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        self.open_blob(digest, what)?
            .take(DOCUMENT_MAX + 1)
            .read_to_end(&mut content)
            .map_err(Error::io("read", &self.blob_path(digest)))?;
        if content.len() as u64 > DOCUMENT_MAX {
            return Err(Error::TooLong { what: format!("blob {digest}"), limit: DOCUMENT_MAX });
        }
        let found = Digest::of(&content);
        if found != digest {
            let what = format!("blob {}", self.blob_path(digest).display());
            return Err(Error::DigestMismatch { what, expected: digest, found });
        }
        Ok(content)
    }

    /// Adds a small blob, which is there once `work` is settled. Returns its digest.
    pub(crate) fn add_document(&self, work: &Work, content: &[u8]) -> Result<Digest> {
        let mut writer = BlobWriter::new(work)?;
        writer.write_all(content).map_err(Error::io("write", &writer.path))?;
        let digest = Digest::of(content);
        writer.finish(self, work, digest)?;
        Ok(digest)
    }

    /// Whether the store has a blob, or will have it with this work.
    pub(crate) fn has_blob(&self, work: &Work, digest: Digest, size: u64) -> Result<bool> {
        Ok(work.made().blobs.contains_key(&digest) || self.blob_size(digest)? == Some(size))
    }
}

/// A blob that is being written, to `tmp` until its [`Work`] is settled.
#[derive(Debug)]
pub(crate) struct BlobWriter {
    file: File,
    path: PathBuf,
    size: u64,
}

impl BlobWriter {
    pub(crate) fn new(work: &Work) -> Result<Self> {
        let (file, path) = tempfile::Builder::new()
            .prefix("blob-")
            .tempfile_in(work.path(""))
            .and_then(|file| file.keep().map_err(Into::into))
            .map_err(Error::io("write in", &work.path("")))?;
        Ok(Self { file, path, size: 0 })
    }

    /// The blob has this digest and is whole.
    pub(crate) fn finish(self, store: &Store, work: &Work, digest: Digest) -> Result<()> {
        if store.has_blob(work, digest, self.size)? {
            let _ = fs::remove_file(&self.path);
        } else {
            work.made().blobs.insert(digest, self.path);
        }
        Ok(())
    }

    /// The digest of what was written.
    pub(crate) fn digest(&self) -> io::Result<Digest> {
        let mut content = Hashing::new(File::open(&self.path)?);
        io::copy(&mut content, &mut io::sink())?;
        Ok(content.digest())
    }

    /// Bytes written so far.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }
}

impl Write for BlobWriter {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let written = self.file.write(content)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
