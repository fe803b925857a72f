//! Sparse files in pax archives (GNU tar manual, "Storing Sparse Files"), versions 0.0, 0.1 and 1.0.
//! The tar reader itself knows the older form with its own entry type.

use std::io::{self, Read};

/// No file of a layer is longer, in bytes: a map of a few bytes could otherwise stand for any
/// number of zeros.
const SIZE_MAX: u64 = 1 << 40;
/// No map is longer, in pieces.
const PIECES_MAX: usize = 1 << 20;

const MALFORMED: &str = "its sparse map is malformed";

/// The `GNU.sparse.*` records of an entry.
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    pub(super) name: Option<Vec<u8>>,
    size: Option<u64>,
    major: Option<u64>,
    /// Offsets and lengths in turn.
    map: Vec<u64>,
    malformed: bool,
}

impl SparseRecords {
    /// Adds a record by its key after `GNU.sparse.`.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        let number = || str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"realsize" | b"size" => self.size = number(),
            b"major" => self.major = number(),
            b"offset" | b"numbytes" => match number() {
                Some(number) => self.map.push(number),
                None => self.malformed = true,
            },
            b"map" => {
                let numbers: Option<Vec<u64>> = str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.split(',').map(|number| number.parse().ok()).collect());
                self.malformed |= numbers.is_none();
                self.map = numbers.unwrap_or_default();
            }
            _ => {}
        }
    }
}

/// A file's content: its data at their places, and zeros between.
pub(super) struct Content<R> {
    data: R,
    /// What is to come: where data begin and how long they are, the next one last.
    pieces: Vec<(u64, u64)>,
    position: u64,
    size: u64,
}

/// The content of an entry with `size` bytes of data.
pub(super) fn content<'a>(
    records: &SparseRecords,
    data: &'a mut dyn Read,
    size: u64,
) -> Result<Content<&'a mut dyn Read>, &'static str> {
    let Some(real_size) = records.size else {
        return if size > SIZE_MAX {
            Err("it is longer than a tebibyte")
        } else {
            Ok(Content { data, pieces: vec![(0, size)], position: 0, size })
        };
    };
    let mut left = size;
    let map = match records.major {
        Some(1) => {
            let (map, length) = read_map(data).ok_or(MALFORMED)?;
            left = left.checked_sub(length).ok_or(MALFORMED)?;
            map
        }
        _ => records.map.clone(),
    };
    if records.malformed || map.len() % 2 != 0 {
        return Err(MALFORMED);
    }
    let mut pieces: Vec<(u64, u64)> = map.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    check(&pieces, real_size, left)?;
    pieces.reverse();
    Ok(Content { data, pieces, position: 0, size: real_size })
}

/// Pieces follow each other, end within the file and are as long together as the data.
fn check(pieces: &[(u64, u64)], size: u64, data: u64) -> Result<(), &'static str> {
    if size > SIZE_MAX {
        return Err("it is longer than a tebibyte");
    }
    let (mut end, mut total) = (0, 0_u64);
    for &(offset, length) in pieces {
        if offset < end {
            return Err(MALFORMED);
        }
        end = offset.checked_add(length).filter(|end| *end <= size).ok_or(MALFORMED)?;
        total += length;
    }
    if total == data { Ok(()) } else { Err(MALFORMED) }
}

/// The map that data of version 1.0 begin with: decimal numbers, one a line, the number of pieces
/// first, filled up to a block of 512 bytes. Returns it with the bytes that it took.
fn read_map(data: &mut dyn Read) -> Option<(Vec<u64>, u64)> {
    let (mut numbers, mut wanted) = (Vec::new(), 1);
    let mut number: Option<u64> = None;
    let mut length = 0;
    while numbers.len() < wanted {
        let mut block = [0; 512];
        data.read_exact(&mut block).ok()?;
        length += 512;
        for byte in block {
            match byte {
                _ if numbers.len() == wanted => break,
                b'\n' => {
                    numbers.push(number.take()?);
                    if numbers.len() == 1 {
                        let pieces = usize::try_from(numbers[0]).ok()?;
                        wanted = 1 + 2 * Some(pieces).filter(|pieces| *pieces <= PIECES_MAX)?;
                    }
                }
                b'0'..=b'9' => {
                    let digit = u64::from(byte - b'0');
                    number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
                }
                _ => return None,
            }
        }
    }
    numbers.remove(0);
    Some((numbers, length))
}

impl<R> Content<R> {
    /// The file's size in bytes, holes included.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.pieces.last().is_some_and(|(_, length)| *length == 0) {
            self.pieces.pop();
        }
        let limit = |length: u64| {
            usize::try_from(length).map_or(buffer.len(), |length| length.min(buffer.len()))
        };
        let count = match self.pieces.last_mut() {
            Some((offset, length)) if *offset == self.position => {
                let wanted = limit(*length);
                let count = self.data.read(&mut buffer[..wanted])?;
                *offset += count as u64;
                *length -= count as u64;
                count
            }
            next => {
                let end = next.map_or(self.size, |(offset, _)| *offset);
                let count = limit(end - self.position);
                buffer[..count].fill(0);
                count
            }
        };
        self.position += count as u64;
        Ok(count)
    }
}
