//! Reading tar archives entry by entry: ustar, pax and GNU's formats and what came before them
//! (POSIX, pax, "ustar Interchange Format" and "pax Interchange Format"; GNU tar manual, "Basic Tar
//! Format").
//!
//! The layout of headers is the tar crate's. Its iterator is not used: it reads names and records of
//! any length into memory, ends a pax record at the first newline, which file capabilities may hold,
//! and knows no negative times. Where readers differ, this one does as Go's archive/tar, and with it
//! Docker.

mod fields;
mod pax;
mod sparse;

use std::io::{self, Read, Seek, SeekFrom};

use tar::{EntryType, Header};

pub(crate) use self::{fields::number, sparse::Map};
use crate::error::{Error, shown};

/// Bytes: archives are made up of such blocks.
const BLOCK: usize = 512;
/// The longest name or set of records that an entry of its own holds for the next one, in bytes:
/// that of Go's archive/tar.
const EXTENSION_MAX: u64 = 1 << 20;

/// How an archive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With an empty block; two should mark it (POSIX, pax, "ustar Interchange Format").
    Marked,
    /// Without it, after a whole entry.
    Unmarked,
}

/// Why an archive cannot be read further.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It does not begin as one.
    NotTar,
    /// It ends within an entry.
    Truncated,
    /// It is none of the known formats.
    Malformed(&'static str),
    /// The same, where the entry is known by its path.
    Refused(Vec<u8>, &'static str),
    /// Its bytes cannot be read.
    Unreadable(io::Error),
}

impl Fault {
    /// The error about the archive `what`.
    pub(crate) fn of(self, what: &str) -> Error {
        match self {
            Self::NotTar => Error::NotTar { what: what.to_owned() },
            Self::Truncated => Error::Truncated { what: what.to_owned() },
            Self::Malformed(reason) => {
                Error::read(what)(io::Error::new(io::ErrorKind::InvalidData, reason))
            }
            Self::Refused(path, reason) => Error::RefusedEntry { entry: shown(&path), reason },
            Self::Unreadable(error) => Error::read(what)(error),
        }
    }

    /// The fault of the entry at `path`.
    fn at(self, path: &[u8]) -> Self {
        match self {
            Self::Malformed(reason) => Self::Refused(path.to_vec(), reason),
            fault => fault,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Unreadable(error),
        }
    }
}

/// An entry of an archive: its header, and what entries before it say of it.
pub(crate) struct Entry {
    pub(crate) header: Header,
    /// Its path, as it stands in the archive.
    pub(crate) path: Vec<u8>,
    /// The target of a link, as it stands in the archive.
    pub(crate) link: Vec<u8>,
    /// Bytes of content in the archive.
    pub(crate) size: u64,
    /// Where in the archive its content begins, in bytes.
    pub(crate) position: u64,
    /// Where the content belongs, of a sparse file.
    pub(crate) sparse: Option<Map>,
    /// Its pax records.
    pub(crate) records: pax::Records,
}

impl Entry {
    pub(crate) fn kind(&self) -> EntryType {
        self.header.entry_type()
    }
}

/// Whether an archive may begin so.
pub(crate) fn is_header(block: &[u8; BLOCK]) -> bool {
    block.iter().any(|byte| *byte != 0)
        && fields::has_valid_checksum(Header::from_byte_slice(block))
}

/// Reads an archive. The content of the latest entry is what this reads as a [`Read`].
pub(crate) struct Reader<R> {
    input: R,
    /// Bytes of the archive that were read.
    position: u64,
    /// Bytes of the latest entry's content that were not.
    left: u64,
    /// Bytes that fill up its last block.
    filling: u64,
}

/// What entries say of the next one.
#[derive(Default)]
struct Announced {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: pax::Records,
    any: bool,
}

/// A block where an entry may begin.
enum Block {
    Header(Box<Header>),
    Empty,
    /// There was no block any more.
    Nothing,
}

impl<R: Read> Reader<R> {
    pub(crate) const fn new(input: R) -> Self {
        Self { input, position: 0, left: 0, filling: 0 }
    }

    /// Whether not even one block was read whole.
    pub(crate) const fn is_shorter_than_a_block(&self) -> bool {
        self.position < BLOCK as u64
    }

    /// The next entry, or how the archive ended.
    pub(crate) fn next(&mut self) -> Result<Result<Entry, End>, Fault> {
        let mut announced = Announced::default();
        loop {
            self.skip()?;
            let header = match self.block()? {
                Block::Header(header) => *header,
                Block::Nothing | Block::Empty if announced.any => return Err(Fault::Truncated),
                Block::Nothing => return Ok(Err(End::Unmarked)),
                Block::Empty => return self.end().map(Err),
            };
            if !self.announces(&header, &mut announced)? {
                return self.entry(header, announced).map(Ok);
            }
        }
    }

    /// Goes past what is left of the latest entry. The last block of an archive need not be whole:
    /// some writers leave out what follows the content, and readers accept that.
    fn skip(&mut self) -> Result<(), Fault> {
        let skipped = io::copy(&mut (&mut self.input).take(self.left), &mut io::sink())?;
        if skipped < self.left {
            return Err(Fault::Truncated);
        }
        let filling = io::copy(&mut (&mut self.input).take(self.filling), &mut io::sink())?;
        self.position += skipped + filling;
        (self.left, self.filling) = (0, 0);
        Ok(())
    }

    fn block(&mut self) -> Result<Block, Fault> {
        let mut bytes = [0; BLOCK];
        let count = self.fill(&mut bytes)?;
        let first = self.position == 0;
        self.position += count as u64;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(if count == BLOCK { Block::Empty } else { Block::Nothing });
        }
        if count < BLOCK {
            return Err(Fault::Truncated);
        }
        let header = Header::from_byte_slice(&bytes);
        if !fields::has_valid_checksum(header) {
            let reason = "the checksum of an entry's header is wrong";
            return Err(if first { Fault::NotTar } else { Fault::Malformed(reason) });
        }
        Ok(Block::Header(Box::new(header.clone())))
    }

    /// Reads into `bytes`, which are zero, until they are full or the input ends.
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.input.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// After an empty block: what follows it, if anything does, is a second one.
    fn end(&mut self) -> Result<End, Fault> {
        match self.block() {
            Ok(Block::Empty | Block::Nothing) => Ok(End::Marked),
            Ok(Block::Header(_)) | Err(Fault::Malformed(_) | Fault::Truncated) => {
                Err(Fault::Malformed("it goes on after an empty block"))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Takes note of an entry that is about the next one; `false` if it is one of its own.
    fn announces(&mut self, header: &Header, announced: &mut Announced) -> Result<bool, Fault> {
        let kind = header.entry_type();
        match kind {
            EntryType::GNULongName => announced.path = Some(self.extension(header)?),
            EntryType::GNULongLink => announced.link = Some(self.extension(header)?),
            EntryType::XHeader => {
                announced.records = pax::Records::parse(&self.extension(header)?)?;
            }
            // It holds defaults for all entries; Docker takes no notice of it.
            EntryType::XGlobalHeader => self.begin(fields::size(header)?)?,
            _ => return Ok(false),
        }
        announced.any |= kind != EntryType::XGlobalHeader;
        Ok(true)
    }

    /// The content of an entry that is about the next one; of names, what stands before a NUL.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, Fault> {
        let size = fields::size(header)?;
        if size > EXTENSION_MAX {
            return Err(Fault::Malformed("a name or a set of records is longer than a mebibyte"));
        }
        self.begin(size)?;
        let mut content = Vec::new();
        self.read_to_end(&mut content)?;
        if header.entry_type() != EntryType::XHeader {
            content.truncate(content.iter().position(|byte| *byte == 0).unwrap_or(content.len()));
        }
        Ok(content)
    }

    /// Content of `size` bytes follows.
    fn begin(&mut self, size: u64) -> Result<(), Fault> {
        const TOO_LONG: Fault = Fault::Malformed("it is longer than any archive");
        let whole = size.checked_next_multiple_of(BLOCK as u64).ok_or(TOO_LONG)?;
        self.position.checked_add(whole).ok_or(TOO_LONG)?;
        (self.left, self.filling) = (size, whole - size);
        Ok(())
    }

    fn entry(&mut self, header: Header, announced: Announced) -> Result<Entry, Fault> {
        let Announced { path, link, records, .. } = announced;
        let kind = header.entry_type();
        let of_header = |field: &[u8], name: &[u8]| {
            records.last(name).map_or_else(|| field.to_vec(), <[u8]>::to_vec)
        };
        let path = path.unwrap_or_else(|| of_header(&header.path_bytes(), b"path"));
        let link = link.unwrap_or_else(|| {
            of_header(&header.link_name_bytes().unwrap_or_default(), b"linkpath")
        });
        let size = match records.number(b"size").map_err(|fault| fault.at(&path))? {
            _ if is_header_only(kind) => 0,
            Some(size) => size,
            None => fields::size(&header).map_err(|fault| fault.at(&path))?,
        };
        let sparse = match kind {
            EntryType::GNUSparse => self.old_map(&header).map_err(|fault| fault.at(&path))?,
            _ => None,
        };
        let position = self.position;
        self.begin(size).map_err(|fault| fault.at(&path))?;
        let mut entry = Entry { header, path, link, size, position, sparse, records };
        self.read_sparse_records(&mut entry).map_err(|fault| fault.at(&entry.path))?;
        Ok(entry)
    }

    /// The map of a sparse file in GNU's old form, of which the header may be only the beginning.
    fn old_map(&mut self, header: &Header) -> Result<Option<Map>, Fault> {
        sparse::read_extensions(header, |block| {
            let count = self.fill(block)?;
            self.position += count as u64;
            if count == BLOCK { Ok(()) } else { Err(Fault::Truncated) }
        })
    }

    /// Of a sparse file in pax form the header holds a made-up name, and data may begin with the map.
    fn read_sparse_records(&mut self, entry: &mut Entry) -> Result<(), Fault> {
        if !matches!(entry.kind(), EntryType::Regular | EntryType::Continuous) {
            return Ok(());
        }
        if let Some(name) = entry.records.last(b"GNU.sparse.name") {
            entry.path = name.to_vec();
        }
        let found = sparse::from_records(&entry.records, self)?;
        if found.is_some() {
            entry.size = self.left;
            entry.position = self.position;
            entry.sparse = found;
        }
        Ok(())
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Goes past what is left of the latest entry without reading it.
    pub(crate) fn seek_past(&mut self) -> Result<(), Fault> {
        let distance = self.left + self.filling;
        let offset = i64::try_from(distance).map_err(|_| Fault::Truncated)?;
        self.input.seek(SeekFrom::Current(offset))?;
        self.position += distance;
        (self.left, self.filling) = (0, 0);
        Ok(())
    }
}

/// Whether entries of this kind have no content, whatever their header says of its size.
fn is_header_only(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Directory
            | EntryType::Fifo
    )
}

/// The content of the latest entry; one that ends early is an error.
impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        self.position += count as u64;
        Ok(count)
    }
}
