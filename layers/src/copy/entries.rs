//! Entries of the archives that copies travel in.

use std::io::{self, Read};

use tar::EntryType;

use super::guest::Given;
use crate::{
    error::{Error, Result},
    tarball::{Entry, Fault, Map, Reader},
    unpack,
};

/// What messages call the archive.
pub(super) const WHAT: &str = "the archive";

/// The next entry. A few bytes are no beginning of an archive, but something else.
pub(super) fn next(reader: &mut Reader<impl Read>) -> Result<Option<Entry>> {
    match reader.next() {
        Err(Fault::Truncated) if reader.is_shorter_than_a_block() => Err(Fault::NotTar.of(WHAT)),
        next => Ok(next.map_err(|fault| fault.of(WHAT))?.ok()),
    }
}

/// What an entry is. Archives older than POSIX mark a directory by its name's last byte alone.
pub(crate) fn kind(entry: &Entry) -> EntryType {
    match entry.kind() {
        EntryType::Regular if entry.path.ends_with(b"/") => EntryType::Directory,
        kind => kind,
    }
}

/// What a copy gets of the entry.
pub(super) fn given(entry: &Entry, owners: bool) -> Result<Given> {
    let attributes = unpack::attributes(entry)?;
    let owner = owners.then_some((attributes.uid, attributes.gid));
    Ok(Given { mode: attributes.mode, mtime: attributes.mtime, owner })
}

/// The names that a path is made of, none of which leads out of where it starts.
pub(super) fn names(path: &[u8]) -> Result<Vec<Vec<u8>>> {
    let inside = unpack::inside(path)?.path;
    let names = inside.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
    Ok(names.map(Vec::from).collect())
}

pub(crate) fn refused(entry: &Entry, reason: &'static str) -> Error {
    Error::RefusedEntry { entry: crate::error::shown(&entry.path), reason }
}

/// A file's content, with the holes of a sparse one.
pub(crate) struct Content<'a> {
    data: Box<dyn Read + 'a>,
    /// Bytes of holes and of data in turn; the next last.
    rest: Vec<(u64, u64)>,
    is_sparse: bool,
}

impl<'a> Content<'a> {
    /// The content of the latest entry, which `data` has.
    pub(crate) fn of(entry: &Entry, data: impl Read + 'a) -> Result<Self> {
        let data = Box::new(data);
        let Some(map) = &entry.sparse else {
            return Ok(Self { data, rest: Vec::new(), is_sparse: false });
        };
        if map.size > unpack::SIZE_MAX {
            return Err(refused(entry, "it is longer than a tebibyte"));
        }
        if !map.check(entry.size) {
            return Err(refused(entry, "its sparse map is malformed"));
        }
        Ok(Self { data, rest: holes_and_data(map), is_sparse: true })
    }
}

fn holes_and_data(map: &Map) -> Vec<(u64, u64)> {
    let mut position = 0;
    let mut parts = Vec::with_capacity(map.pieces.len() + 1);
    for &(offset, length) in &map.pieces {
        parts.push((offset - position, length));
        position = offset + length;
    }
    parts.push((map.size - position, 0));
    parts.reverse();
    parts
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_sparse {
            return self.data.read(buffer);
        }
        let most =
            |wanted: u64| usize::try_from(wanted).map_or(buffer.len(), |n| n.min(buffer.len()));
        while let Some((hole, data)) = self.rest.last_mut() {
            let (in_hole, in_data) = (most(*hole), most(*data));
            if in_hole > 0 {
                buffer[..in_hole].fill(0);
                *hole -= in_hole as u64;
                return Ok(in_hole);
            }
            if in_data > 0 {
                let count = self.data.read(&mut buffer[..in_data])?;
                *data -= count as u64;
                return if count == 0 {
                    Err(io::ErrorKind::UnexpectedEof.into())
                } else {
                    Ok(count)
                };
            }
            if buffer.is_empty() {
                return Ok(0);
            }
            self.rest.pop();
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_file_is_read_with_its_holes() {
        let map = Map { size: 9, pieces: vec![(2, 3), (5, 1), (8, 0)] };
        let data = Box::new(b"abcd".as_slice());
        let mut content = Content { rest: holes_and_data(&map), data, is_sparse: true };
        let mut found = Vec::new();
        content.read_to_end(&mut found).unwrap();
        assert_eq!(found, b"\0\0abcd\0\0\0");
    }

    #[test]
    fn no_name_leads_out_of_where_a_copy_goes() {
        assert_eq!(names(b"./a//b/").unwrap(), [b"a".to_vec(), b"b".to_vec()]);
        assert!(names(b"./").unwrap().is_empty());
        for path in ["../a", "a/../../b", "/a", "a\0b"] {
            assert!(names(path.as_bytes()).is_err(), "{path}");
        }
    }
}
