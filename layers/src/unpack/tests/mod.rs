mod formats;

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use proptest::prelude::*;
use tar::{Builder, Header};

use super::*;
use crate::tree::{Directory, Encoding};

/// An archive of entries with raw names, which no well-behaved archiver would write.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn entry(mut self, kind: u8, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::new(kind));
        header.set_size(content.len() as u64);
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// The same with another size in the header.
    fn entry_of_size(self, kind: u8, name: &str, content: &[u8], size: u64) -> Self {
        let start = self.0.len();
        let mut made = self.entry(kind, name, "", content);
        let mut header = Header::from_byte_slice(&made.0[start..start + 512]).clone();
        header.set_size(size);
        header.set_cksum();
        made.0[start..start + 512].copy_from_slice(header.as_bytes());
        made
    }

    /// A header with its checksum set.
    fn raw(self, header: &Header) -> Self {
        let mut header = header.clone();
        header.set_cksum();
        self.unchanged(&header, b"")
    }

    fn unchanged(mut self, header: &Header, content: &[u8]) -> Self {
        self.0.extend_from_slice(header.as_bytes());
        self.content(content)
    }

    fn content(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(b'0', name, "", content.as_bytes())
    }

    /// Records; of the values every character is a byte.
    fn pax(self, records: &[(&str, &str)]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let value: Vec<u8> = value.chars().map(|byte| u8::try_from(byte).unwrap()).collect();
            let rest = key.len() + value.len() + 3;
            let length = (rest..rest + 9).find(|n| n.to_string().len() + rest == *n).unwrap();
            write!(content, "{length} {key}=").unwrap();
            content.extend_from_slice(&value);
            content.push(b'\n');
        }
        self.entry(b'x', "pax", "", &content)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn unpack_to(dir: &Path, archive: &[u8], encoding: Encoding) -> Result<End> {
    let tree = Writer::new(Directory::open_root(dir, encoding).unwrap());
    unpack(archive, tree, "the layer")
}

fn unpacked(archive: Archive) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(unpack_to(dir.path(), &archive.end(), Encoding::Overlay).unwrap(), End::Marked);
    dir
}

fn refusal(archive: Archive) -> String {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(outer.path().join("outside"), "untouched").unwrap();
    let error = unpack_to(&root, &archive.end(), Encoding::Overlay).unwrap_err();
    assert_eq!(fs::read_to_string(outer.path().join("outside")).unwrap(), "untouched");
    assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 2, "{error}");
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[test]
fn files_links_and_modes_survive() {
    let dir = unpacked(
        Archive::default()
            .entry(b'5', "./", "", b"")
            .file("a/b/file", "content")
            .entry(b'1', "hard", "a/b/file", b"")
            .entry(b'2', "soft", "/no/where", b"")
            .entry(b'6', "fifo", "", b""),
    );
    let file = dir.path().join("a/b/file");
    assert_eq!(fs::read_to_string(&file).unwrap(), "content");
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!((metadata.nlink(), metadata.mtime()), (2, 1_000_000_000));
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o644);
    assert_eq!(fs::read_link(dir.path().join("soft")).unwrap(), Path::new("/no/where"));
    assert!(fs::metadata(dir.path().join("fifo")).unwrap().file_type().is_fifo());
}

#[test]
fn pax_records_give_long_names_times_and_attributes() {
    let long = format!("{}/file", "d".repeat(200));
    let dir = unpacked(
        Archive::default()
            .pax(&[("path", &long), ("mtime", "12.5"), ("SCHILY.xattr.user.key", "value")])
            .file("short", "content"),
    );
    let metadata = fs::metadata(dir.path().join(&long)).unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (12, 500_000_000));
    assert!(!dir.path().join("short").exists());
}

#[test]
fn gnu_long_names_are_read() {
    let mut builder = Builder::new(Vec::new());
    let long = format!("{0}/{0}", "n".repeat(150));
    let mut header = Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o4755);
    builder.append_data(&mut header, &long, &b"hi"[..]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    unpack_to(dir.path(), &builder.into_inner().unwrap(), Encoding::Overlay).unwrap();
    let metadata = fs::metadata(dir.path().join(&long)).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o4755);
}

#[test]
fn sparse_files_of_every_pax_version_are_filled() {
    let expected = "\0\0\0ab\0\0\0cd\0";
    let v00 = [
        ("GNU.sparse.size", "11"),
        ("GNU.sparse.offset", "3"),
        ("GNU.sparse.numbytes", "2"),
        ("GNU.sparse.offset", "8"),
        ("GNU.sparse.numbytes", "2"),
    ];
    let v01 =
        [("GNU.sparse.size", "11"), ("GNU.sparse.map", "3,2,8,2"), ("GNU.sparse.name", "dir/v01")];
    let v10 = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.realsize", "11"),
        ("GNU.sparse.name", "dir/v10"),
    ];
    let mut with_map = b"2\n3\n2\n8\n2\n".to_vec();
    with_map.resize(512, 0);
    with_map.extend_from_slice(b"abcd");
    let dir = unpacked(
        Archive::default()
            .pax(&v00)
            .file("dir/v00", "abcd")
            .pax(&v01)
            .file("dir/GNUSparseFile.1/v01", "abcd")
            .pax(&v10)
            .entry(b'0', "dir/GNUSparseFile.1/v10", "", &with_map),
    );
    for name in ["v00", "v01", "v10"] {
        assert_eq!(fs::read_to_string(dir.path().join("dir").join(name)).unwrap(), expected);
    }
}

#[test]
fn a_sparse_map_that_lies_is_refused() {
    for map in ["3,2,1,2", "0,4,4,4", "0,12", "1,x", "1", "18446744073709551615,4"] {
        let records = [("GNU.sparse.size", "11"), ("GNU.sparse.map", map)];
        let error = refusal(Archive::default().pax(&records).file("f", "abcd"));
        assert_eq!(error, "refused entry `f` of the layer: its sparse map is malformed", "{map}");
    }
    let huge = [("GNU.sparse.size", "9223372036854775807"), ("GNU.sparse.map", "0,4")];
    let error = refusal(Archive::default().pax(&huge).file("f", "abcd"));
    assert_eq!(error, "refused entry `f` of the layer: it is longer than a tebibyte");
}

#[test]
fn hostile_entries_are_refused_and_touch_nothing_outside() {
    let new = Archive::default;
    let cases: [(Archive, &str); 14] = [
        (new().file("/etc/passwd", "x"), "its path is absolute"),
        (new().file("../outside", "x"), "it leads out of the layer"),
        (new().file("a/../../outside", "x"), "it leads out of the layer"),
        (new().entry(b'5', "..", "", b""), "it leads out of the layer"),
        (new().entry(b'1', "h", "../outside", b""), "its hard link leads out of the layer"),
        (new().entry(b'1', "h", "/etc/passwd", b""), "its hard link leads out of the layer"),
        (new().entry(b'1', "h", "nothing", b""), "is no file of this layer"),
        (new().entry(b'2', "l", "..", b"").file("l/outside", "x"), "is no directory"),
        (new().entry(b'2', "l", "/etc", b"").entry(b'5', "l/d", "", b""), "is no directory"),
        (new().file(".wh...", ""), "it is a whiteout of nothing"),
        (new().entry(b'2', "l", "", b""), "it is a link without target"),
        (new().entry(b'3', "null", "", b""), "how overlayfs marks a whiteout"),
        (new().entry(b'Z', "z", "", b""), "its type is unknown"),
        (new().pax(&[("path", "a\0b")]).file("f", "x"), "its name holds a NUL"),
    ];
    for (archive, expected) in cases {
        let error = refusal(archive);
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
}

#[test]
fn a_file_takes_the_place_of_a_link_and_not_of_its_target() {
    let dir = unpacked(
        Archive::default()
            .file("target", "old")
            .entry(b'2', "link", "target", b"")
            .file("link", "new"),
    );
    assert_eq!(fs::read_to_string(dir.path().join("target")).unwrap(), "old");
    assert_eq!(fs::read_to_string(dir.path().join("link")).unwrap(), "new");
}

#[test]
fn whiteouts_and_opaque_marks_become_the_trees_own() {
    let dir = unpacked(Archive::default().file("d/.wh.gone", "").file("o/.wh..wh..opq", ""));
    let tree = Directory::open_root(dir.path(), Encoding::Overlay).unwrap();
    assert!(tree.open_dir(b"o").unwrap().is_opaque().unwrap());
    let entries = tree.open_dir(b"d").unwrap().entries().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((&*entries[0].name, entries[0].kind), (&b"gone"[..], crate::tree::Kind::Whiteout));
}

#[test]
fn an_archive_that_ends_early_is_truncated_wherever_it_is_cut() {
    let whole = Archive::default().file("a", &"x".repeat(700)).file("b", "y").end();
    // The last block may be cut after the content: umoci's and Go's writers leave it so.
    let fillings = [512 + 700..=1536, 1536 + 512 + 1..=2560];
    for length in 1..whole.len() - 1024 {
        let dir = tempfile::tempdir().unwrap();
        let result = unpack_to(dir.path(), &whole[..length], Encoding::Overlay);
        if fillings.iter().any(|filling| filling.contains(&length)) {
            assert!(matches!(result, Ok(End::Unmarked)), "{length}: {result:?}");
        } else {
            assert!(matches!(result, Err(Error::Truncated { .. })), "{length}: {result:?}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let unmarked = unpack_to(dir.path(), &whole[..whole.len() - 1024], Encoding::Overlay);
    assert_eq!(unmarked.unwrap(), End::Unmarked);
}

#[test]
fn names_that_other_systems_refuse_survive_in_the_portable_encoding() {
    let archive = Archive::default().file("con", "1").file("Con", "2").file("a:b?", "3").end();
    let dir = tempfile::tempdir().unwrap();
    unpack_to(dir.path(), &archive, Encoding::Portable).unwrap();
    let tree = Directory::open_root(dir.path(), Encoding::Portable).unwrap();
    let mut names: Vec<_> = tree.entries().unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    assert_eq!(names, [&b"Con"[..], b"a:b?", b"con"].map(Box::from));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_damage_to_an_archive_reaches_outside_or_panics(
        flips in proptest::collection::vec((0..4096_usize, any::<u8>()), 0..8),
    ) {
        let mut bytes = Archive::default()
            .file("dir/file", "content")
            .entry(b'2', "link", "dir", b"")
            .entry(b'1', "hard", "dir/file", b"")
            .file("dir/.wh.gone", "")
            .end();
        for (position, value) in flips {
            if let Some(byte) = bytes.get_mut(position) {
                *byte = value;
            }
        }
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir(&root).unwrap();
        let _ = unpack_to(&root, &bytes, Encoding::Overlay);
        prop_assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1);
    }
}

/// One block, over and over.
struct Endless {
    block: [u8; 512],
    position: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rest = &self.block[self.position..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position = (self.position + count) % self.block.len();
        Ok(count)
    }
}

#[test]
fn an_archive_without_end_is_refused() {
    // AUFS's own entries stand for nothing, so that nothing but their number counts.
    let archive = Archive::default().file(".wh..wh.aufs", "").0;
    let endless = Endless { block: archive.try_into().unwrap(), position: 0 };
    let dir = tempfile::tempdir().unwrap();
    let tree = Writer::new(Directory::open_root(dir.path(), Encoding::Overlay).unwrap());
    let error = unpack(std::io::BufReader::new(endless), tree, "the layer").unwrap_err();
    assert!(error.to_string().contains("more than 4194304 entries"), "{error}");
}
