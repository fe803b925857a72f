//! The parsers of foreign bytes, for `layers/fuzz`. Each function takes any bytes, and a panic, a hang or
//! a failed assertion in it is a fault.

use std::io::{self, Read as _};

use crate::{
    Digest, Platform, Reference,
    archive::docker,
    budget::Budget,
    compression::Compression,
    error::Result,
    image::{self, Image},
    store::graph,
    tarball::Reader,
    tree::{Directory, Encoding, Kind, Writer, names},
    unpack,
};

/// What is decompressed of one input, in bytes, before it is a bomb.
const UNPACKED_MAX: u64 = 16 << 20;

/// An archive whose every block has the checksum of a header, which chance would not find.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut archive = bytes.to_vec();
    for block in archive.chunks_exact_mut(512).filter(|block| block.iter().any(|byte| *byte != 0)) {
        let mut header = tar::Header::from_byte_slice(block).clone();
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
    }
    archive
}

/// Reads an archive's entries with all that they hold, sparse maps among it.
pub fn read_tar(bytes: &[u8]) {
    let bytes = with_checksums(bytes);
    let mut archive = Reader::new(bytes.as_slice());
    while let Ok(Ok(entry)) = archive.next() {
        let fits = entry.sparse.as_ref().is_none_or(|map| map.check(entry.size));
        let read = io::copy(&mut archive, &mut io::sink());
        assert!(read.is_err() || read.is_ok_and(|read| read == entry.size) || !fits);
    }
}

/// Unpacks a layer in a new directory, in both encodings.
pub fn unpack_layer(bytes: &[u8]) {
    let bytes = with_checksums(bytes);
    let unpack_as = |encoding| {
        let outer = tempfile::tempdir()?;
        let root = outer.path().join("root");
        std::fs::create_dir(&root)?;
        let tree = Writer::new(Directory::open_root(&root, encoding)?);
        let _ = unpack::unpack(bytes.as_slice(), tree, "the layer");
        assert_eq!(std::fs::read_dir(outer.path())?.count(), 1, "it reached outside");
        crate::files::remove_tree(&root).map_err(io::Error::other)
    };
    for encoding in [Encoding::Overlay, Encoding::Portable] {
        unpack_as(encoding).expect("a directory to unpack to");
    }
}

/// Decompresses gzip and zstd.
pub fn decompress(bytes: &[u8]) {
    let mut input = bytes;
    let Ok(compression) = Compression::detect(&mut input, "it") else { return };
    let budget = Budget::new(UNPACKED_MAX);
    let mut read = 0;
    let mut decoder = compression.decoder(input, &budget);
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = decoder.read(&mut buffer) {
        read += count as u64;
    }
    assert!(read <= UNPACKED_MAX.max(bytes.len() as u64 * 200) + 4096);
}

/// Reads a manifest and its config, the two parted by a NUL, an index, and Docker's `manifest.json`.
pub fn read_documents(bytes: &[u8]) {
    let digest = Digest::of(bytes);
    let (manifest, config) =
        bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    let image: Result<_> = Image::new(digest, manifest, config.get(1..).unwrap_or_default());
    assert!(image.is_err() || image.is_ok_and(|image| image.layers().count() < 501));
    let _ = image::other_artifact(digest, bytes);
    let _ = graph::parse_index("the index", bytes);
    let _ = docker::parse(bytes);
}

/// Reads a reference, a digest and a platform; what is read is written as it was, or as what is
/// equal.
pub fn read_reference(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(reference) = text.parse::<Reference>() {
        for form in [reference.to_string(), reference.familiar()] {
            assert_eq!(form.parse::<Reference>().as_ref(), Ok(&reference), "{form}");
        }
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string(), text);
        assert!(platform.satisfies(&platform));
    }
}

/// Decodes a name of the portable encoding, and encodes and decodes it as a guest's.
pub fn read_name(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = names::decode(text);
    }
    if !names::is_name(bytes) {
        return;
    }
    for kind in [Kind::File, Kind::Symlink, Kind::Whiteout, Kind::Fifo] {
        let encoded = names::encode(bytes, kind);
        assert!(encoded.name.is_ascii() && encoded.name.len() < 255);
        let decoded = names::decode(&encoded.name);
        assert!(
            matches!(decoded, names::Decoded::Hashed { .. }) == encoded.long_name_file.is_some()
        );
    }
}
