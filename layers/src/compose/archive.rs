//! Archives that are unpacked into a composition.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom},
    sync::Arc,
};

use tar::EntryType;

use super::{Composition, Content, Entry, Given, join};
use crate::{
    Store,
    budget::Budget,
    compression::Compression,
    copy::{CopyError, entries},
    error::{Error, Result},
    tarball::{self, Reader},
    tree::Special,
    union::FileKind,
    unpack,
};

const BUFFER: usize = 256 << 10;

/// A tar archive, uncompressed, in a file that goes with it.
#[derive(Clone, Debug)]
pub struct Unpacked {
    file: Arc<File>,
    what: Arc<str>,
}

impl Store {
    /// Takes an archive that may be compressed, or `None` of what is none. `what` it is, for messages.
    pub fn unpacked(&self, archive: &mut dyn Read, what: &str) -> Result<Option<Unpacked>> {
        let mut input = BufReader::with_capacity(BUFFER, archive);
        let compression = match Compression::detect(&mut input, what) {
            // Of other files that are compressed so there is no telling what they are.
            Err(Error::Compression { .. }) if !what.contains(".t") => return Ok(None),
            compression => compression?,
        };
        let budget = Budget::default();
        let mut content = compression.decoder(input, &budget);
        let mut start = [0; 512];
        let count = fill(&mut content, &mut start).unwrap_or_default();
        if count < start.len() || !tarball::is_header(&start) {
            return Ok(None);
        }
        let tmp = self.root().join("tmp");
        let mut file = tempfile::tempfile_in(&tmp).map_err(Error::io("write in", &tmp))?;
        let mut content = crate::streams::Watched::new((&start[..count]).chain(content));
        if let Err(error) = io::copy(&mut content, &mut file) {
            return Err(match content.error {
                Some(error) => Error::read(what)(error),
                None => Error::io("write in", &tmp)(error),
            });
        }
        Ok(Some(Unpacked { file: Arc::new(file), what: what.into() }))
    }
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Unpacked {
    /// The file from a position on. One position is read from at a time.
    fn at(&self, position: u64) -> Result<File> {
        let mut file = self.file.try_clone().map_err(Error::read(&self.what))?;
        file.seek(SeekFrom::Start(position)).map_err(Error::read(&self.what))?;
        Ok(file)
    }
}

impl Composition<'_> {
    /// Adds what an archive holds, below a resolved path.
    pub fn unpack(&mut self, archive: &Unpacked, to: &[u8], given: Given) -> Result<(), CopyError> {
        let what = &*archive.what;
        self.way(to, given)?;
        let mut reader = Reader::new(BufReader::with_capacity(BUFFER, archive.at(0)?));
        let mut places: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut count = 0;
        while let Ok(entry) = reader.next().map_err(|fault| fault.of(what))? {
            count += 1;
            if count > crate::limits::ENTRIES_MAX {
                return Err(entries::refused(&entry, "the archive has too many entries").into());
            }
            let inside = unpack::inside(&entry.path)?.path;
            if inside.is_empty() {
                // Where it is unpacked is no part of it.
                continue;
            }
            let place = self.place(to, &inside)?;
            self.unpack_entry(archive, entry, &place, &places, given)?;
            places.insert(inside, place);
        }
        Ok(())
    }

    /// Where an entry goes: links on the way are followed, itself is not.
    fn place(&self, to: &[u8], inside: &[u8]) -> Result<Vec<u8>, CopyError> {
        let path = join(to, inside);
        let path = path.strip_suffix(b"/").unwrap_or(&path);
        match path.iter().rposition(|&byte| byte == b'/') {
            None => Ok(path.to_vec()),
            Some(slash) => {
                let parent = String::from_utf8_lossy(&path[..slash]);
                Ok(join(&self.destination(&parent)?.path, &path[slash + 1..]))
            }
        }
    }

    fn unpack_entry(
        &mut self,
        archive: &Unpacked,
        entry: tarball::Entry,
        place: &[u8],
        places: &BTreeMap<Vec<u8>, Vec<u8>>,
        given: Given,
    ) -> Result<(), CopyError> {
        let mut attributes = unpack::attributes(&entry)?;
        if let Some((uid, gid)) = given.owner {
            (attributes.uid, attributes.gid) = (uid, gid);
        }
        let kind = entries::kind(&entry);
        if let Some(mode) = given.mode.filter(|_| kind != EntryType::Symlink) {
            attributes.mode = mode;
        }
        let content = match kind {
            EntryType::Directory => Content::Directory,
            EntryType::Symlink => Content::Symlink(entry.link.clone()),
            EntryType::Link => {
                let target = unpack::inside(&entry.link)?.path;
                let first = places.get(&target).and_then(|place| self.entries.get(place));
                let first = first.ok_or_else(|| {
                    entries::refused(&entry, "it is a link to what is not in the archive")
                })?;
                first.content.clone()
            }
            EntryType::Fifo => Content::Special(Special::Fifo),
            EntryType::Char | EntryType::Block => match unpack::device(&entry) {
                Some(special) => Content::Special(special),
                None => {
                    return Err(entries::refused(&entry, "its device number is malformed").into());
                }
            },
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                content_of(archive, entry)
            }
            _ => return Err(entries::refused(&entry, "its type is unknown").into()),
        };
        self.newest = self.newest.max(Some(attributes.mtime));
        // What was there gives way, as when tar(1) unpacks; a directory takes the archive's attributes.
        let is_directory = content.kind() == FileKind::Directory;
        if !is_directory
            && self
                .entries
                .get(place)
                .is_some_and(|there| there.content.kind() != FileKind::Directory)
        {
            self.entries.remove(place);
        }
        self.add(place, Entry { attributes, content, own: false }, given)
    }
}

fn content_of<'a>(archive: &Unpacked, entry: tarball::Entry) -> Content<'a> {
    let size = entry.sparse.as_ref().map_or(entry.size, |map| map.size);
    let archive = archive.clone();
    let open = move || -> Result<Box<dyn Read + 'a>> {
        let data = archive.at(entry.position)?.take(entry.size);
        Ok(Box::new(entries::Content::of(&entry, data)?))
    };
    Content::File { size, open: Arc::new(open) }
}
