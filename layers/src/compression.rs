//! Compressed archives, recognised by their first bytes.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use crate::{
    budget::Budget,
    error::{Error, Result},
};

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// What the first bytes of `reader` say. `what` it is, for messages.
    ///
    /// # Errors
    ///
    /// [`Error::Compression`] for what is compressed in another way.
    pub(crate) fn detect(reader: &mut impl BufRead, what: &str) -> Result<Self> {
        let start = reader.fill_buf().map_err(Error::read(what))?;
        let other = |algorithm| Err(Error::Compression { what: what.to_owned(), algorithm });
        match start {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // A frame, or a skippable frame before it (RFC 8878, 3.1).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => other("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => other("bzip2"),
            _ => Ok(Self::None),
        }
    }

    /// The content of `reader`, decompressed, as far as the budget goes.
    pub(crate) fn decoder<'a>(
        self,
        reader: impl BufRead + 'a,
        budget: &Budget,
    ) -> Box<dyn Read + 'a> {
        let reader = budget.packed(reader);
        match self {
            Self::None => Box::new(reader),
            Self::Gzip => Box::new(budget.unpacked(MultiGzDecoder::new(reader))),
            Self::Zstd => Box::new(budget.unpacked(ZstdDecoder::new(reader))),
        }
    }
}

/// All frames of a zstd stream, one after the other, as `zstd:chunked` layers have them.
struct ZstdDecoder<R> {
    source: R,
    frame: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdDecoder<R> {
    fn new(source: R) -> Self {
        Self { source, frame: FrameDecoder::new(), in_frame: false }
    }

    /// Goes to the next frame with content; `false` at the end.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.frame.reset(&mut self.source) {
                Ok(()) => {
                    self.in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => self.skip(length.into())?,
                Err(error) => return Err(self.error(error)),
            }
        }
        Ok(false)
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.source).take(length), &mut io::sink())?;
        if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// The decoder does not say when it ran out of input.
    fn error(&mut self, error: FrameDecoderError) -> io::Error {
        match self.source.fill_buf() {
            Ok([]) => io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => io::Error::new(io::ErrorKind::InvalidData, error),
            Err(error) => error,
        }
    }

    fn finish_frame(&mut self) -> io::Result<()> {
        self.in_frame = false;
        match (self.frame.get_checksum_from_data(), self.frame.get_calculated_checksum()) {
            (Some(expected), Some(found)) if expected != found => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a zstd frame's checksum is wrong"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for ZstdDecoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame && !self.next_frame()? {
                return Ok(0);
            }
            if self.frame.can_collect() == 0 && !self.frame.is_finished() {
                let some = BlockDecodingStrategy::UptoBytes(buffer.len());
                if let Err(error) = self.frame.decode_blocks(&mut self.source, some) {
                    return Err(self.error(error));
                }
            }
            match self.frame.read(buffer)? {
                0 if self.frame.is_finished() => self.finish_frame()?,
                0 => {}
                count => return Ok(count),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write as _};

    use super::*;

    const TEXT: &[u8] = b"what is repeated is repeated is repeated";

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn decompress(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut reader = BufReader::new(bytes);
        let compression = Compression::detect(&mut reader, "it").unwrap();
        let mut content = Vec::new();
        compression.decoder(reader, &Budget::default()).read_to_end(&mut content).map(|_| content)
    }

    #[test]
    fn streams_are_recognised_by_their_content() {
        assert_eq!(decompress(TEXT).unwrap(), TEXT);
        assert_eq!(decompress(&gzip(TEXT)).unwrap(), TEXT);
        assert_eq!(decompress(&zstd(TEXT)).unwrap(), TEXT);
        assert_eq!(decompress(b"").unwrap(), b"");
    }

    #[test]
    fn several_members_and_frames_are_one_stream() {
        assert_eq!(decompress(&[gzip(TEXT), gzip(TEXT)].concat()).unwrap(), TEXT.repeat(2));
        let skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc".to_vec();
        let frames = [skippable.clone(), zstd(TEXT), skippable, zstd(TEXT)].concat();
        assert_eq!(decompress(&frames).unwrap(), TEXT.repeat(2));
    }

    #[test]
    fn a_stream_that_ends_early_says_so() {
        let long: Vec<u8> =
            (0..200_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        for whole in [gzip(&long), zstd(&long)] {
            let error = decompress(&whole[..whole.len() / 2]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
        }
    }

    #[test]
    fn other_algorithms_are_named() {
        let error = Compression::detect(&mut &b"\xfd7zXZ\0\0"[..], "the layer").unwrap_err();
        assert_eq!(error.to_string(), "the layer is compressed with xz, which is not supported");
    }
}
