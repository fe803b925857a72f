//! Sparse files: GNU's old form with an entry type of its own, and the pax versions 0.0, 0.1 and 1.0
//! (GNU tar manual, "Storing Sparse Files").

use std::io::Read;

use tar::{GnuSparseHeader, Header};

use super::{BLOCK, Fault, Reader, fields, pax};

/// No map is longer, in pieces.
const PIECES_MAX: usize = 1 << 20;

const MALFORMED: Fault = Fault::Malformed("its sparse map is malformed");

/// Where the data of a sparse file belong. Not checked yet: that is [`Map::check`]'s.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Map {
    /// The file's size in bytes, holes included.
    pub(crate) size: u64,
    /// Where data begin and how long they are, in bytes.
    pub(crate) pieces: Vec<(u64, u64)>,
}

impl Map {
    /// Whether pieces follow each other, end within the file and are together as long as `data`.
    pub(crate) fn check(&self, data: u64) -> bool {
        let (mut end, mut total) = (0, 0_u64);
        for &(offset, length) in &self.pieces {
            match offset.checked_add(length) {
                Some(next) if offset >= end && next <= self.size => end = next,
                _ => return false,
            }
            total += length;
        }
        total == data
    }

    /// A map of offsets and lengths in turn.
    fn of(size: u64, numbers: &[u64]) -> Result<Self, Fault> {
        if !numbers.len().is_multiple_of(2) || numbers.len() / 2 > PIECES_MAX {
            return Err(MALFORMED);
        }
        let pieces = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        Ok(Self { size, pieces })
    }
}

/// The map in a header of GNU's old form, and in the blocks after it, which `next` reads.
pub(super) fn read_extensions(
    header: &Header,
    mut next: impl FnMut(&mut [u8]) -> Result<(), Fault>,
) -> Result<Option<Map>, Fault> {
    let gnu = header.as_gnu().ok_or(MALFORMED)?;
    let number = |field: &[u8]| {
        fields::number(field).and_then(|number| u64::try_from(number).ok()).ok_or(MALFORMED)
    };
    let mut numbers = Vec::new();
    let mut add = |pieces: &[GnuSparseHeader]| {
        // The first that was left empty ends them.
        for piece in pieces.iter().take_while(|piece| piece.offset[0] != 0) {
            numbers.extend([number(&piece.offset)?, number(&piece.numbytes)?]);
        }
        if numbers.len() / 2 > PIECES_MAX { Err(MALFORMED) } else { Ok(()) }
    };
    add(&gnu.sparse)?;
    let mut extended = gnu.isextended[0] != 0;
    let mut blocks = 0;
    while extended {
        let mut block = tar::GnuExtSparseHeader::new();
        next(block.as_mut_bytes())?;
        add(&block.sparse)?;
        extended = block.isextended[0] != 0;
        blocks += 1;
        if blocks > PIECES_MAX {
            return Err(MALFORMED);
        }
    }
    Map::of(number(&gnu.realsize)?, &numbers).map(Some)
}

/// The map in pax records, or at the beginning of the data.
pub(super) fn from_records<R: Read>(
    records: &pax::Records,
    data: &mut Reader<R>,
) -> Result<Option<Map>, Fault> {
    let size = match records.number(b"GNU.sparse.realsize")? {
        None => records.number(b"GNU.sparse.size")?,
        size => size,
    };
    let Some(size) = size else { return Ok(None) };
    if records.number(b"GNU.sparse.major")? == Some(1) {
        return read_map(size, data).map(Some);
    }
    let numbers: Option<Vec<u64>> = match records.last(b"GNU.sparse.map") {
        Some(map) => map.split(|byte| *byte == b',').map(pax::decimal).collect(),
        None => records
            .iter()
            .filter(|(key, _)| matches!(*key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes"))
            .map(|(_, value)| pax::decimal(value))
            .collect(),
    };
    Map::of(size, &numbers.ok_or(MALFORMED)?).map(Some)
}

/// The map that data of version 1.0 begin with: decimal numbers, one a line, the number of pieces
/// first, filled up to a whole block.
fn read_map<R: Read>(size: u64, data: &mut Reader<R>) -> Result<Map, Fault> {
    let (mut numbers, mut wanted) = (Vec::new(), 1);
    let mut digits = Vec::new();
    while numbers.len() < wanted {
        let mut block = [0; BLOCK];
        if data.left < BLOCK as u64 {
            return Err(MALFORMED);
        }
        data.read_exact(&mut block)?;
        for byte in block {
            match byte {
                _ if numbers.len() == wanted => break,
                b'\n' => {
                    let number = pax::decimal(&digits).ok_or(MALFORMED)?;
                    digits.clear();
                    numbers.push(number);
                    if numbers.len() == 1 {
                        let pieces = usize::try_from(number).map_err(|_| MALFORMED)?;
                        let pieces = Some(pieces).filter(|pieces| *pieces <= PIECES_MAX);
                        wanted = 1 + 2 * pieces.ok_or(MALFORMED)?;
                    }
                }
                byte if digits.len() < 20 => digits.push(byte),
                _ => return Err(MALFORMED),
            }
        }
    }
    Map::of(size, &numbers[1..])
}
