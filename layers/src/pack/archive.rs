//! Entries of an archive that is being written.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    time::{Duration, SystemTime},
};

use tar::{EntryType, Header};

use crate::{
    error::{Error, Result},
    streams::Watched,
    tree::{self, Attributes, Special, Stat},
};

/// An archive that is being written.
pub(crate) struct Archive<W: Write> {
    tar: tar::Builder<W>,
    /// Of files with several names, the first that was written.
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// What was changed after the first says that it was changed at the second.
    latest: Option<(SystemTime, SystemTime)>,
    /// Whether entries are whose their attributes say they are.
    owners: bool,
}

/// What a header has no room for.
type Records = Vec<(String, Vec<u8>)>;

impl<W: Write> Archive<W> {
    pub(crate) fn new(output: W) -> Self {
        Self {
            tar: tar::Builder::new(output),
            linked: HashMap::new(),
            latest: None,
            owners: tree::keeps_owners(),
        }
    }

    /// Has entries that were changed after `since` say that they were changed at `time`.
    pub(crate) const fn clamp(&mut self, since: SystemTime, time: SystemTime) {
        self.latest = Some((since, time));
    }

    /// Has entries be whose their attributes say they are: where there is but one user, a tree's files
    /// are those of the user, who is root to the guest.
    pub(crate) const fn keep_owners(&mut self) {
        self.owners = true;
    }

    /// Writes the archive's end mark.
    pub(crate) fn finish(self) -> Result<W> {
        self.tar.into_inner().map_err(unwritten)
    }

    pub(crate) fn directory(&mut self, path: &[u8], attributes: &Attributes) -> Result<()> {
        let path = [path, b"/"].concat();
        self.without_content(EntryType::Directory, &path, None, attributes, |_| Ok(()))
    }

    pub(crate) fn symlink(
        &mut self,
        path: &[u8],
        target: &[u8],
        attributes: &Attributes,
    ) -> Result<()> {
        self.without_content(EntryType::Symlink, path, Some(target), attributes, |_| Ok(()))
    }

    /// A fifo or device. Nothing is written of a socket.
    pub(crate) fn special(
        &mut self,
        path: &[u8],
        special: Special,
        attributes: &Attributes,
    ) -> Result<()> {
        let (kind, numbers) = match special {
            Special::Socket => return Ok(()),
            Special::Fifo => (EntryType::Fifo, None),
            Special::Char { major, minor } => (EntryType::Char, Some((major, minor))),
            Special::Block { major, minor } => (EntryType::Block, Some((major, minor))),
        };
        self.without_content(kind, path, None, attributes, |header| match numbers {
            None => Ok(()),
            Some((major, minor)) => {
                header.set_device_major(major)?;
                header.set_device_minor(minor)
            }
        })
    }

    /// A regular file of the size that `stat` tells: one that is written to meanwhile is cut there,
    /// or filled with zeros. Of a file with several names, all but the first become hard links.
    pub(crate) fn file(
        &mut self,
        path: &[u8],
        stat: &Stat,
        attributes: &Attributes,
        content: impl Read,
    ) -> Result<()> {
        if let Some(identity) = stat.identity.filter(|_| stat.nlink > 1) {
            if let Some(first) = self.linked.get(&identity) {
                let first = first.clone();
                let nothing = |_: &mut Header| Ok(());
                return self.without_content(
                    EntryType::Link,
                    path,
                    Some(&first),
                    attributes,
                    nothing,
                );
            }
            self.linked.insert(identity, path.to_vec());
        }
        self.content(path, stat.size, attributes, content)
    }

    /// A regular file of `size` bytes, with one name.
    pub(crate) fn content(
        &mut self,
        path: &[u8],
        size: u64,
        attributes: &Attributes,
        content: impl Read,
    ) -> Result<()> {
        let (mut header, records) = self.header(EntryType::Regular, path, None, attributes);
        header.set_size(size);
        let mut content = Watched::new(content);
        let written = self.append(&header, &records, &mut Exactly::new(&mut content, size));
        match content.error {
            Some(source) => Err(unread("read", path)(source)),
            None => written,
        }
    }

    /// The mark that the lowers' `path` is gone (OCI image-spec, layer, "Whiteouts").
    pub(crate) fn whiteout(&mut self, path: &[u8]) -> Result<()> {
        let name = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        self.mark(&[&path[..name], b".wh.", &path[name..]].concat())
    }

    /// The mark that what the lowers have in the directory `path` is gone.
    pub(crate) fn opaque(&mut self, path: &[u8]) -> Result<()> {
        let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
        self.mark(&[path, slash, b".wh..wh..opq"].concat())
    }

    fn mark(&mut self, path: &[u8]) -> Result<()> {
        let attributes = Attributes::new(0, SystemTime::UNIX_EPOCH);
        self.without_content(EntryType::Regular, path, None, &attributes, |_| Ok(()))
    }

    fn without_content(
        &mut self,
        kind: EntryType,
        path: &[u8],
        target: Option<&[u8]>,
        attributes: &Attributes,
        set: impl FnOnce(&mut Header) -> io::Result<()>,
    ) -> Result<()> {
        let (mut header, records) = self.header(kind, path, target, attributes);
        set(&mut header).map_err(unread("pack", path))?;
        self.append(&header, &records, &mut io::empty())
    }

    /// A header of size 0, and the records that say what does not fit in it.
    fn header(
        &self,
        kind: EntryType,
        path: &[u8],
        target: Option<&[u8]>,
        attributes: &Attributes,
    ) -> (Header, Records) {
        let mut header = Header::new_ustar();
        let mut records = Records::new();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(attributes.mode & 0o7777);
        let owner = if self.owners { (attributes.uid, attributes.gid) } else { (0, 0) };
        header.set_uid(owner.0.into());
        header.set_gid(owner.1.into());
        let mtime = match self.latest {
            Some((since, time)) if attributes.mtime > since => time,
            _ => attributes.mtime,
        };
        set_time(&mut header, &mut records, mtime);
        if !set_field(&mut header.as_old_mut().name, path) {
            records.push(("path".to_owned(), path.to_vec()));
        }
        if let Some(target) = target
            && !set_field(&mut header.as_old_mut().linkname, target)
        {
            records.push(("linkpath".to_owned(), target.to_vec()));
        }
        for (name, value) in &attributes.xattrs {
            // A link to a file carries nothing of its own.
            if kind != EntryType::Link
                && let Ok(name) = str::from_utf8(name)
            {
                records.push((format!("SCHILY.xattr.{name}"), value.clone()));
            }
        }
        records.sort();
        (header, records)
    }

    fn append(&mut self, header: &Header, records: &Records, content: &mut dyn Read) -> Result<()> {
        let mut header = header.clone();
        header.set_cksum();
        let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.tar.append_pax_extensions(records).map_err(unwritten)?;
        self.tar.append(&header, content).map_err(unwritten)
    }
}

/// Fills a field with as much as it holds; tells whether that was all.
fn set_field(field: &mut [u8], value: &[u8]) -> bool {
    let length = value.len().min(field.len());
    field.fill(0);
    field[..length].copy_from_slice(&value[..length]);
    length == value.len()
}

/// Whole seconds since 1970 have a place in the header, other times a record.
fn set_time(header: &mut Header, records: &mut Records, time: SystemTime) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    header.set_mtime(since.as_ref().map_or(0, Duration::as_secs));
    let record = match since {
        Ok(after) if after.subsec_nanos() == 0 => return,
        Ok(after) => decimal(after, ""),
        Err(before) => decimal(before.duration(), "-"),
    };
    records.push(("mtime".to_owned(), record.into_bytes()));
}

fn decimal(time: Duration, sign: &str) -> String {
    let text = format!("{sign}{}.{:09}", time.as_secs(), time.subsec_nanos());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// As many bytes as were announced, whatever became of the file.
struct Exactly<R> {
    content: io::Take<R>,
}

impl<R: Read> Exactly<R> {
    fn new(content: R, size: u64) -> Self {
        Self { content: content.take(size) }
    }
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        let lacking = self.content.limit();
        if count > 0 || lacking == 0 || buffer.is_empty() {
            return Ok(count);
        }
        let zeros = usize::try_from(lacking).unwrap_or(usize::MAX).min(buffer.len());
        buffer[..zeros].fill(0);
        self.content.set_limit(lacking - zeros as u64);
        Ok(zeros)
    }
}

fn unwritten(source: io::Error) -> Error {
    Error::Write { what: "the archive", source }
}

/// A failure on an entry's side.
pub(crate) fn unread<E>(verb: &'static str, path: &[u8]) -> impl FnOnce(E) -> Error
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let entry = format!("/{}", String::from_utf8_lossy(path));
    move |source| Error::Pack { verb, entry, source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_shrank_is_filled_and_one_that_grew_is_cut() {
        let read = |content: &[u8], size| {
            let mut found = Vec::new();
            Exactly::new(content, size).read_to_end(&mut found).map(|_| found)
        };
        assert_eq!(read(b"abc", 5).unwrap(), b"abc\0\0");
        assert_eq!(read(b"abc", 2).unwrap(), b"ab");
        assert_eq!(read(b"", 0).unwrap(), b"");
    }

    #[test]
    fn times_are_written_as_short_as_they_can_be() {
        assert_eq!(decimal(Duration::new(1, 500_000_000), ""), "1.5");
        assert_eq!(decimal(Duration::new(10, 0), "-"), "-10");
        assert_eq!(decimal(Duration::new(0, 1), "-"), "-0.000000001");
    }
}
