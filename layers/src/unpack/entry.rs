//! What an entry's header and pax records say about it.

use std::{
    io::{self, Read},
    time::{Duration, SystemTime},
};

use super::{
    path::refused,
    sparse::{self, Content, SparseRecords},
};
use crate::{
    error::{Error, Result},
    tree::Attributes,
};

/// The pax records that matter here and that the tar reader does not apply itself.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    mtime: Option<SystemTime>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: SparseRecords,
}

impl Extensions {
    pub(super) fn of<R: Read>(entry: &mut tar::Entry<'_, R>, what: &str) -> Result<Self> {
        let mut extensions = Self::default();
        if let Some(records) = entry.pax_extensions().map_err(Error::read(what))? {
            for record in records {
                let record = record.map_err(Error::read(what))?;
                extensions.add(record.key_bytes(), record.value_bytes());
            }
        }
        Ok(extensions)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.xattrs.push((name.to_vec(), value.to_vec()));
        } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
            self.sparse.add(name, value);
        } else if key == b"mtime" {
            self.mtime = parse_time(value);
        }
    }

    /// The entry's path; of a sparse file in pax form the header holds a made-up one.
    pub(super) fn name<R: Read>(&self, entry: &tar::Entry<'_, R>) -> Vec<u8> {
        self.sparse.name.clone().unwrap_or_else(|| entry.path_bytes().into_owned())
    }

    pub(super) fn attributes<R: Read>(
        &self,
        entry: &tar::Entry<'_, R>,
        what: &str,
    ) -> Result<Attributes> {
        let header = entry.header();
        let name = || self.name(entry);
        let id = |field: &[u8], id: io::Result<u64>| {
            u32::try_from(number(field, id).map_err(Error::read(what))?)
                .map_err(|_| refused(&name(), "its owner is no 32-bit number"))
        };
        let mtime = self.mtime.unwrap_or_else(|| {
            let seconds = Duration::from_secs(header.mtime().unwrap_or_default());
            SystemTime::UNIX_EPOCH.checked_add(seconds).unwrap_or(SystemTime::UNIX_EPOCH)
        });
        let mode = number(&header.as_old().mode, header.mode()).map_err(Error::read(what))?;
        let mut attributes = Attributes::new(mode & 0o7777, mtime);
        attributes.uid = id(&header.as_old().uid, header.uid())?;
        attributes.gid = id(&header.as_old().gid, header.gid())?;
        attributes.xattrs.clone_from(&self.xattrs);
        Ok(attributes)
    }

    /// The file's content, with the holes of a sparse file filled; `size` is that of its data.
    pub(super) fn content<'a, R: Read>(
        &self,
        entry: &'a mut tar::Entry<'_, R>,
        size: u64,
        name: &[u8],
    ) -> Result<Content<&'a mut dyn Read>> {
        sparse::content(&self.sparse, entry, size).map_err(|reason| refused(name, reason))
    }
}

/// A numeric field of a header; one that was left empty is zero, as other readers have it.
pub(super) fn number<T: Default>(field: &[u8], value: io::Result<T>) -> io::Result<T> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Ok(T::default()) } else { value }
}

/// Seconds since 1970 with an optional fraction and sign (POSIX, pax, "pax Extended Header File
/// Times"); `None` for what is out of range.
fn parse_time(text: &[u8]) -> Option<SystemTime> {
    let text = str::from_utf8(text).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let offset = Duration::new(seconds.parse().ok()?, digits.parse().ok()?);
    if negative {
        SystemTime::UNIX_EPOCH.checked_sub(offset)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions_and_signs() {
        let after = |nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        assert_eq!(parse_time(b"1"), Some(after(1_000_000_000)));
        assert_eq!(parse_time(b"1.5"), Some(after(1_500_000_000)));
        assert_eq!(parse_time(b"0.1234567891"), Some(after(123_456_789)));
        let before = SystemTime::UNIX_EPOCH - Duration::from_millis(1250);
        assert_eq!(parse_time(b"-1.25"), Some(before));
        assert_eq!(parse_time(b"later"), None);
        assert_eq!(parse_time(b"99999999999999999999999"), None);
    }
}
