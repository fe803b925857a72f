//! What tells one composition from another.

use std::io::Read as _;

use sha2::{Digest as _, Sha256};

use super::{Composition, Content, Entry};
use crate::{
    Digest,
    error::{Error, Result},
    pack::unread,
    tree::Special,
};

const BUFFER: usize = 128 << 10;

impl Composition<'_> {
    /// A digest of all that is in it: paths, kinds, permissions, owners, extended attributes and
    /// contents. When originals were changed is no part of it. Reads every file.
    pub fn digest(&self) -> Result<Digest> {
        let mut all = Fields(Sha256::new());
        let mut buffer = vec![0; BUFFER];
        for (path, entry) in &self.entries {
            all.bytes(path);
            all.entry(path, entry, &mut buffer)?;
        }
        Ok(Digest::from_bytes(all.0.finalize().into()))
    }
}

/// Fields, each with its length before it.
struct Fields(Sha256);

impl Fields {
    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn entry(&mut self, path: &[u8], entry: &Entry<'_>, buffer: &mut [u8]) -> Result<()> {
        let attributes = &entry.attributes;
        for number in [attributes.mode, attributes.uid, attributes.gid] {
            self.number(number.into());
        }
        self.number(attributes.xattrs.len() as u64);
        let mut xattrs: Vec<_> = attributes.xattrs.iter().collect();
        xattrs.sort();
        for (name, value) in xattrs {
            self.bytes(name);
            self.bytes(value);
        }
        if entry.own {
            let since = attributes.mtime.duration_since(std::time::UNIX_EPOCH);
            let since = since.unwrap_or_else(|before| before.duration());
            self.number(since.as_secs());
            self.number(since.subsec_nanos().into());
        }
        match &entry.content {
            Content::Directory => self.bytes(b"directory"),
            Content::Symlink(target) => {
                self.bytes(b"link");
                self.bytes(target);
            }
            Content::Special(special) => {
                self.bytes(b"special");
                let (kind, major, minor) = match *special {
                    Special::Fifo => (0, 0, 0),
                    Special::Char { major, minor } => (1, major, minor),
                    Special::Block { major, minor } => (2, major, minor),
                    Special::Socket => (3, 0, 0),
                };
                for number in [kind, major, minor] {
                    self.number(number.into());
                }
            }
            Content::Bytes(bytes) => self.file(path, bytes.len() as u64, &mut &**bytes, buffer)?,
            Content::File { size, open } => self.file(path, *size, &mut *open()?, buffer)?,
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: &[u8],
        size: u64,
        content: &mut dyn std::io::Read,
        buffer: &mut [u8],
    ) -> Result<()> {
        self.bytes(b"file");
        self.number(size);
        let mut digest = Sha256::new();
        let mut content = content.take(size);
        loop {
            match content.read(buffer) {
                Ok(0) => break,
                Ok(count) => digest.update(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err::<(), Error>(unread("read", path)(error)),
            }
        }
        self.bytes(&digest.finalize());
        Ok(())
    }
}
