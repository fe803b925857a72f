//! A composition as a layer's archive.

use std::io::Write;

use super::{Composition, Content};
use crate::{error::Result, pack::Archive};

impl Composition<'_> {
    /// Writes all entries, by their paths.
    pub(crate) fn pack(&self, archive: &mut Archive<impl Write>) -> Result<()> {
        for (path, entry) in &self.entries {
            let attributes = &entry.attributes;
            match &entry.content {
                Content::Directory => archive.directory(path, attributes)?,
                Content::Bytes(bytes) => {
                    archive.content(path, bytes.len() as u64, attributes, &**bytes)?;
                }
                Content::File { size, open } => {
                    archive.content(path, *size, attributes, open()?)?;
                }
                Content::Symlink(target) => archive.symlink(path, target, attributes)?,
                Content::Special(special) => archive.special(path, *special, attributes)?,
            }
        }
        Ok(())
    }
}
