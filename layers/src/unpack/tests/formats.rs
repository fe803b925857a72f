//! What archives of real tools hold, in every form that it has.

use std::{os::unix::fs::FileExt as _, process::Command};

use super::*;
use crate::tree::Kind;

/// A header of GNU's form that a test may change before it is added.
fn header(kind: u8, name: &str) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::new(kind));
    header.set_path(name).unwrap();
    header.set_mode(0o644);
    header.set_size(0);
    header
}

fn attributes(dir: &Path, name: &str, kind: Kind) -> Attributes {
    let tree = Directory::open_root(dir, Encoding::Overlay).unwrap();
    tree.attributes(name.as_bytes(), kind).unwrap()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn pax_values_hold_any_bytes_and_records_after_them_count() {
    let dir = unpacked(
        Archive::default()
            .pax(&[
                ("SCHILY.xattr.user.key", "line\nof 9 a=b\ntext"),
                ("mtime", "1.5"),
                ("path", "new\nline"),
                ("size", "5"),
                ("uid", "0"),
            ])
            .entry_of_size(b'0', "f", b"hello", 0),
    );
    let metadata = fs::metadata(dir.path().join("new\nline")).unwrap();
    assert_eq!((metadata.len(), metadata.mtime_nsec()), (5, 500_000_000));
    let kept = attributes(dir.path(), "new\nline", Kind::File).xattrs;
    assert_eq!(kept, [(b"user.key".to_vec(), b"line\nof 9 a=b\ntext".to_vec())]);
}

#[test]
fn the_last_of_equal_pax_records_counts_and_an_empty_one_takes_back() {
    let records = [("path", "one"), ("path", "two"), ("mtime", "5"), ("mtime", "")];
    let dir = unpacked(Archive::default().pax(&records).file("header", "x"));
    assert_eq!(fs::metadata(dir.path().join("two")).unwrap().mtime(), 1_000_000_000);
}

#[test]
fn global_pax_records_are_passed_over() {
    let global = Archive::default().entry(b'g', "global", "", b"14 path=other\n");
    let dir = unpacked(global.file("file", "x"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(dir.path().join("file").exists());
}

#[test]
fn file_capabilities_survive() {
    if !is_root() {
        return crate::tests::leave_out("file capabilities need root");
    }
    // VFS_CAP_REVISION_2 with CAP_DAC_OVERRIDE and CAP_FOWNER: 0x0a is a newline.
    let mut capability = vec![1, 0, 0, 2];
    capability.extend([0x0a, 0, 0, 0].repeat(4));
    let value = capability.iter().copied().map(char::from).collect::<String>();
    let key = "SCHILY.xattr.security.capability";
    let dir = unpacked(Archive::default().pax(&[(key, &value)]).file("ping", "x"));
    let kept = attributes(dir.path(), "ping", Kind::File).xattrs;
    assert_eq!(kept, [(b"security.capability".to_vec(), capability)]);
}

#[test]
fn owners_beyond_octal_and_times_before_1970_survive() {
    let mut binary = header(b'0', "binary");
    binary.set_uid(3_000_000);
    binary.set_gid(4_294_967_294);
    // -2 seconds, as GNU tar writes it.
    binary.as_old_mut().mtime = [0xff; 12];
    binary.as_old_mut().mtime[11] = 0xfe;
    let records = [("uid", "2147483648"), ("gid", "5000000"), ("mtime", "-1.25")];
    let dir = unpacked(Archive::default().raw(&binary).pax(&records).file("records", ""));
    let binary = fs::metadata(dir.path().join("binary")).unwrap();
    let records = fs::metadata(dir.path().join("records")).unwrap();
    assert_eq!(binary.mtime(), -2);
    assert_eq!((records.mtime(), records.mtime_nsec()), (-2, 750_000_000));
    if is_root() {
        assert_eq!((binary.uid(), binary.gid()), (3_000_000, 4_294_967_294));
        assert_eq!((records.uid(), records.gid()), (2_147_483_648, 5_000_000));
    }
}

#[test]
fn owners_that_no_system_has_are_refused() {
    for id in [u64::from(u32::MAX), 1 << 32, u64::MAX] {
        let mut owned = header(b'0', "f");
        owned.set_uid(id);
        let error = refusal(Archive::default().raw(&owned));
        assert!(error.contains("its owner is no 32-bit number"), "{error}");
    }
}

#[test]
fn headers_with_blanks_signed_sums_and_no_magic_are_read() {
    let mut old = Header::new_old();
    old.set_path("old").unwrap();
    old.as_old_mut().mode = *b"  644 \0 ";
    old.as_old_mut().size = *b"          2 ";
    old.as_old_mut().uid = [0; 8];
    old.as_old_mut().name[90] = 0xe4; // After the NUL, where signed and unsigned bytes differ.
    let sum: i32 = (old.as_bytes().iter().enumerate())
        .map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte })
        .map(|byte| i32::from(byte.cast_signed()))
        .sum();
    old.as_old_mut().cksum.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let dir = unpacked(Archive::default().unchanged(&old, b"hi"));
    assert_eq!(fs::read_to_string(dir.path().join("old")).unwrap(), "hi");
}

#[test]
fn entries_without_content_have_none_whatever_their_size_says() {
    let new = Archive::default;
    let archive = new()
        .file("file", "x")
        .entry_of_size(b'5', "dir", b"", 1 << 20)
        .entry_of_size(b'1', "hard", b"", 700)
        .file("last", "y");
    // A hard link needs its target, which comes after the name in the header.
    let dir = tempfile::tempdir().unwrap();
    let error = unpack_to(dir.path(), &archive.end(), Encoding::Overlay).unwrap_err();
    assert!(error.to_string().contains("`hard`"), "{error}");
    let archive = new().entry_of_size(b'5', "dir", b"", 1 << 20).file("last", "y");
    assert_eq!(fs::read_to_string(unpacked(archive).path().join("last")).unwrap(), "y");
}

/// A sparse header of GNU's old form with these pieces, offsets and lengths, and the blocks after it.
fn old_sparse(name: &str, size: u64, pieces: &[(u64, u64)]) -> Vec<u8> {
    let mut sparse = header(b'S', name);
    sparse.set_size(pieces.iter().map(|(_, length)| length).sum());
    let gnu = sparse.as_gnu_mut().unwrap();
    gnu.set_real_size(size);
    gnu.set_is_extended(pieces.len() > 4);
    let fill = |into: &mut [tar::GnuSparseHeader], pieces: &[(u64, u64)]| {
        for (into, (offset, length)) in into.iter_mut().zip(pieces) {
            into.set_offset(*offset);
            into.set_length(*length);
        }
    };
    fill(&mut gnu.sparse, pieces);
    sparse.set_cksum();
    let mut bytes = sparse.as_bytes().to_vec();
    let mut rest = pieces.get(4..).unwrap_or_default();
    while !rest.is_empty() {
        let mut block = tar::GnuExtSparseHeader::new();
        fill(block.sparse_mut(), rest);
        rest = rest.get(21..).unwrap_or_default();
        block.set_is_extended(!rest.is_empty());
        bytes.extend_from_slice(block.as_bytes());
    }
    bytes
}

#[test]
fn old_sparse_files_with_blocks_of_pieces_are_filled() {
    let pieces: Vec<(u64, u64)> = (0..60).map(|index| (1024 * index, 512)).collect();
    let mut archive = Archive(old_sparse("sparse", 61_440 + 7, &pieces));
    archive.0.extend((0..60_u8).flat_map(|index| [index + 1; 512]));
    let dir = unpacked(archive.file("next", "x"));
    let content = fs::read(dir.path().join("sparse")).unwrap();
    let mut expected = Vec::new();
    (0..60_u8).for_each(|index| expected.extend([[index + 1; 512], [0; 512]].concat()));
    expected.extend([0; 7]);
    assert!(content == expected);
    assert!(dir.path().join("next").exists());
}

#[test]
fn holes_take_no_room() {
    let archive = Archive(old_sparse("hole", 1 << 40, &[(1 << 39, 512)]));
    let dir = unpacked(archive.content(&[b'x'; 512]));
    let file = fs::File::open(dir.path().join("hole")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 1 << 40);
    assert!(file.metadata().unwrap().blocks() < 64);
    let mut byte = [0];
    file.read_exact_at(&mut byte, 1 << 39).unwrap();
    assert_eq!(byte, *b"x");
}

#[test]
fn hard_links_lead_to_earlier_entries_of_their_layer_alone() {
    // As in Docker, whose link(2) finds neither what comes later nor what another layer has.
    for archive in [
        Archive::default().entry(b'1', "link", "file", b"").file("file", "x"),
        Archive::default().file("dir/file", "x").entry(b'1', "link", "dir", b""),
        Archive::default().file(".wh.gone", "").entry(b'1', "link", "gone", b""),
    ] {
        let error = refusal(archive);
        assert!(error.contains("is no file of this layer"), "{error}");
    }
    let dir = unpacked(
        Archive::default().entry(b'2', "soft", "/nowhere", b"").entry(b'1', "hard", "./soft", b""),
    );
    assert_eq!(fs::read_link(dir.path().join("hard")).unwrap(), Path::new("/nowhere"));
}

#[test]
fn files_that_aufs_kept_aside_get_the_names_that_link_to_them() {
    let dir = unpacked(
        Archive::default()
            .entry(b'5', ".wh..wh.plnk/", "", b"")
            .file(".wh..wh.plnk/12.34", "shared")
            .file(".wh..wh.aufs", "")
            .entry(b'5', ".wh..wh.orph", "", b"")
            .entry(b'1', "one", ".wh..wh.plnk/12.34", b"")
            .entry(b'1', "two", "/.wh..wh.plnk/12.34".trim_start_matches('/'), b"")
            .file("d/.wh..wh..opq", ""),
    );
    assert_eq!(fs::read_to_string(dir.path().join("one")).unwrap(), "shared");
    assert_eq!(fs::metadata(dir.path().join("two")).unwrap().nlink(), 2);
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["d", "one", "two"]);
}

#[test]
fn an_entry_takes_the_place_of_one_of_another_type() {
    let kinds: [(u8, &str); 4] = [(b'0', ""), (b'5', ""), (b'2', "elsewhere"), (b'6', "")];
    for (first, first_link) in kinds {
        for (second, second_link) in kinds {
            let dir = unpacked(
                Archive::default()
                    .entry(first, "x", first_link, b"")
                    .entry(second, "x", second_link, b"")
                    .file("y", ""),
            );
            let kind = fs::symlink_metadata(dir.path().join("x")).unwrap().file_type();
            let found = (kind.is_file(), kind.is_dir(), kind.is_symlink(), kind.is_fifo());
            let expected = (second == b'0', second == b'5', second == b'2', second == b'6');
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn children_may_come_before_their_directory() {
    let mut directory = header(b'5', "a/b");
    directory.set_mode(0o2750);
    directory.set_mtime(77);
    let dir = unpacked(Archive::default().file("a/b/c", "x").raw(&directory));
    let b = fs::metadata(dir.path().join("a/b")).unwrap();
    assert_eq!((b.permissions().mode() & 0o7777, b.mtime()), (0o2750, 77));
    assert!(dir.path().join("a/b/c").exists());
    // Of a directory without entry of its own only the place is known.
    let a = fs::metadata(dir.path().join("a")).unwrap();
    assert_eq!((a.permissions().mode() & 0o7777, a.mtime()), (0o755, 0));
}

#[test]
fn devices_are_made_by_root_and_left_out_by_others_with_their_links() {
    let mut null = header(b'3', "dev/null");
    null.set_device_major(1).unwrap();
    null.set_device_minor(3).unwrap();
    let archive = Archive::default()
        .raw(&null)
        .entry(b'1', "dev/also", "dev/null", b"")
        .entry(b'6', "fifo", "", b"");
    let dir = unpacked(archive);
    let device = fs::symlink_metadata(dir.path().join("dev/also"));
    if crate::tests::may_make_devices() {
        assert_eq!(device.unwrap().rdev(), rustix::fs::makedev(1, 3));
    } else {
        assert!(device.is_err());
    }
    assert!(fs::metadata(dir.path().join("fifo")).unwrap().file_type().is_fifo());
}

#[test]
fn archives_of_gnu_tar_are_read_in_every_format() {
    let source = tempfile::tempdir().unwrap();
    let long = format!("{0}/{0}/{0}/file", "long".repeat(20));
    let path = |name: &str| source.path().join(name);
    fs::create_dir_all(path(&long).parent().unwrap()).unwrap();
    fs::write(path(&long), "deep").unwrap();
    let sparse = fs::File::create(path("sparse")).unwrap();
    for index in 0..200_u64 {
        sparse.write_all_at(b"data", index << 16).unwrap();
    }
    sparse.set_len(200 << 16).unwrap();
    fs::hard_link(path("sparse"), path("hard")).unwrap();
    std::os::unix::fs::symlink(&long, path("soft")).unwrap();
    let forms: [&[&str]; 6] = [
        &["--format=gnu"],
        &["--format=gnu", "--sparse"],
        &["--format=pax", "--xattrs"],
        &["--format=pax", "--sparse", "--sparse-version=0.0"],
        &["--format=pax", "--sparse", "--sparse-version=0.1"],
        &["--format=pax", "--sparse", "--sparse-version=1.0"],
    ];
    for form in forms {
        let made = Command::new("tar").args(form).arg("-cC").arg(source.path()).arg(".").output();
        let Some(made) = made.ok().filter(|made| made.status.success()) else {
            return crate::tests::leave_out("there is no GNU tar");
        };
        let dir = tempfile::tempdir().unwrap();
        let end = unpack_to(dir.path(), &made.stdout, Encoding::Overlay).unwrap();
        assert_eq!(end, End::Marked);
        let at = |name: &str| dir.path().join(name);
        assert_eq!(fs::read_to_string(at(&long)).unwrap(), "deep", "{form:?}");
        assert!(fs::read(at("sparse")).unwrap() == fs::read(path("sparse")).unwrap(), "{form:?}");
        assert_eq!(fs::metadata(at("hard")).unwrap().nlink(), 2);
        assert_eq!(fs::read_link(at("soft")).unwrap(), Path::new(&long));
        let times = [&at("sparse"), &path("sparse")].map(|path| {
            let metadata = fs::metadata(path).unwrap();
            (metadata.mtime(), metadata.mtime_nsec())
        });
        assert_eq!(times[0].0, times[1].0);
        assert!(form[0] == "--format=gnu" || times[0] == times[1], "{form:?}");
    }
}
