use std::{
    io::Read as _,
    path::Path,
    time::{Duration, SystemTime},
};

use super::*;

fn encodings() -> Vec<Encoding> {
    if cfg!(target_os = "linux") {
        vec![Encoding::Overlay, Encoding::Portable]
    } else {
        vec![Encoding::Portable]
    }
}

fn in_each_encoding(test: impl Fn(&Path, Encoding)) {
    for encoding in encodings() {
        let dir = tempfile::tempdir().unwrap();
        test(dir.path(), encoding);
    }
}

fn plain() -> Attributes {
    Attributes::new(0o644, SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 5_000_000))
}

fn names(directory: &Directory) -> Vec<(String, Kind)> {
    let mut names: Vec<_> = directory
        .entries()
        .unwrap()
        .into_iter()
        .map(|entry| (String::from_utf8_lossy(&entry.name).into_owned(), entry.kind))
        .collect();
    names.sort_by(|one, other| one.0.cmp(&other.0));
    names
}

fn read(directory: &Directory, name: &[u8]) -> String {
    let mut text = String::new();
    directory.open_file(name, false).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_tree_reads_back_as_written() {
    in_each_encoding(|path, encoding| {
        let root = Directory::open_root(path, encoding).unwrap();
        let mut writer = Writer::new(root.try_clone().unwrap());
        writer.file(b"etc/Passwd", &plain(), &mut &b"root"[..]).unwrap();
        writer.directory(b"/etc/", &plain()).unwrap();
        writer.symlink(b"etc/mtab", b"/proc/self/mounts", &plain()).unwrap();
        writer.hard_link(b"etc/con", b"etc/Passwd").unwrap();
        writer.special(b"etc/fifo", Special::Fifo, &plain()).unwrap();
        writer.whiteout(b"gone").unwrap();
        writer.opaque(b"opt").unwrap();
        writer.finish().unwrap();

        let expected =
            [("etc", Kind::Directory), ("gone", Kind::Whiteout), ("opt", Kind::Directory)];
        assert_eq!(names(&root), expected.map(|(name, kind)| (name.to_owned(), kind)));
        let etc = root.open_dir(b"etc").unwrap();
        let expected = [
            ("Passwd", Kind::File),
            ("con", Kind::File),
            ("fifo", Kind::Fifo),
            ("mtab", Kind::Symlink),
        ];
        assert_eq!(names(&etc), expected.map(|(name, kind)| (name.to_owned(), kind)));
        assert_eq!(read(&etc, b"con"), "root");
        assert_eq!(etc.read_link(b"mtab").unwrap(), b"/proc/self/mounts");
        assert_eq!(etc.read_special(b"fifo", Kind::Fifo).unwrap(), Special::Fifo);
        assert!(!etc.is_opaque().unwrap());
        assert!(root.open_dir(b"opt").unwrap().is_opaque().unwrap());
        assert_eq!(root.stat(b"etc", Kind::Directory).unwrap().mtime, plain().mtime);
        assert_eq!(etc.stat(b"Passwd", Kind::File).unwrap().mtime, plain().mtime);
    });
}

#[test]
fn no_entry_goes_through_a_link_of_an_earlier_one() {
    in_each_encoding(|path, encoding| {
        std::fs::create_dir_all(path.join("outside")).unwrap();
        std::fs::create_dir_all(path.join("tree")).unwrap();
        let root = Directory::open_root(&path.join("tree"), encoding).unwrap();
        let mut writer = Writer::new(root);
        writer.symlink(b"link", b"../outside", &plain()).unwrap();
        for evil in [&b"link/file"[..], b"link/sub/file", b"../outside/file", b"a/../../file"] {
            let refused = writer.file(evil, &plain(), &mut &b""[..]).unwrap_err();
            let kind = refused.source.kind();
            let expected = [std::io::ErrorKind::NotADirectory, std::io::ErrorKind::InvalidInput];
            assert!(expected.contains(&kind), "{refused}: {}", refused.source);
        }
        writer.hard_link(b"passwd", b"../../etc/passwd").unwrap_err();
        assert_eq!(std::fs::read_dir(path.join("outside")).unwrap().count(), 0);
        // The link itself is replaced, not written through.
        writer.file(b"link", &plain(), &mut &b"new"[..]).unwrap();
        writer.finish().unwrap();
        assert_eq!(std::fs::read_dir(path.join("outside")).unwrap().count(), 0);
    });
}

#[test]
fn later_entries_take_the_place_of_earlier_ones() {
    in_each_encoding(|path, encoding| {
        let root = Directory::open_root(path, encoding).unwrap();
        let mut writer = Writer::new(root.try_clone().unwrap());
        writer.file(b"a/b/c", &plain(), &mut &b"1"[..]).unwrap();
        writer.symlink(b"a/b", b"x", &plain()).unwrap();
        writer.directory(b"a/b", &plain()).unwrap();
        writer.file(b"a/b/d", &plain(), &mut &b"2"[..]).unwrap();
        writer.file(b"f", &plain(), &mut &b"old"[..]).unwrap();
        writer.hard_link(b"g", b"f").unwrap();
        writer.file(b"f", &plain(), &mut &b"new"[..]).unwrap();
        writer.whiteout(b"f").unwrap();
        writer.whiteout(b"dir").unwrap();
        writer.file(b"dir/x", &plain(), &mut &b""[..]).unwrap();
        writer.finish().unwrap();
        assert_eq!(names(&root.open_dir(b"a").unwrap()), [("b".to_owned(), Kind::Directory)]);
        let b = root.open_dir(b"a").unwrap().open_dir(b"b").unwrap();
        assert_eq!(names(&b), [("d".to_owned(), Kind::File)]);
        assert_eq!((read(&root, b"f"), read(&root, b"g")), ("new".to_owned(), "old".to_owned()));
        assert!(root.open_dir(b"dir").unwrap().is_opaque().unwrap());
    });
}

#[test]
fn portable_trees_hold_names_that_hosts_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let root = Directory::open_root(dir.path(), Encoding::Portable).unwrap();
    let long = "Ä".repeat(127);
    let odd =
        ["README", "readme", "aux.h", "a:b", "trailing.", "tab\t", "%2F", "日本", long.as_str()];
    for name in odd {
        root.create_file(name.as_bytes(), 0o644).unwrap();
    }
    let mut expected: Vec<_> = odd.iter().map(|name| ((*name).to_owned(), Kind::File)).collect();
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(names(&root), expected);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.is_ascii() && name.len() < 255, "{name}");
    }
    for name in odd {
        root.remove(name.as_bytes(), Kind::File).unwrap();
    }
    assert_eq!(names(&root), []);
}

#[test]
fn a_directory_with_only_marks_is_empty() {
    in_each_encoding(|path, encoding| {
        let root = Directory::open_root(path, encoding).unwrap();
        root.make_dir(b"d", 0o755).unwrap();
        let d = root.open_dir(b"d").unwrap();
        d.set_opaque().unwrap();
        d.make_whiteout(&[b'W'; 200]).unwrap();
        d.create_file(b"kept", 0o644).unwrap();
        let refused = root.remove(b"d", Kind::Directory).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::DirectoryNotEmpty);
        d.remove(b"kept", Kind::File).unwrap();
        root.remove(b"d", Kind::Directory).unwrap();
        assert_eq!(names(&root), []);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn overlay_trees_keep_modes_and_attributes_but_forge_no_mark() {
    let dir = tempfile::tempdir().unwrap();
    let root = Directory::open_root(dir.path(), Encoding::Overlay).unwrap();
    let mut writer = Writer::new(root.try_clone().unwrap());
    let attribute = (b"user.kept".to_vec(), b"yes".to_vec());
    let forged = [&b"user.overlay.opaque"[..], b"trusted.overlay.opaque"];
    let mut attributes = Attributes { mode: 0o4755, ..plain() };
    attributes.xattrs.push(attribute.clone());
    attributes.xattrs.extend(forged.map(|name| (name.to_vec(), b"y".to_vec())));
    writer.directory(b"d", &attributes).unwrap();
    writer.file(b"d/f", &attributes, &mut &b"x"[..]).unwrap();
    writer.finish().unwrap();
    let d = root.open_dir(b"d").unwrap();
    assert!(!d.is_opaque().unwrap());
    let kept = d.attributes(b"f", Kind::File).unwrap();
    assert_eq!((kept.mode, kept.xattrs), (0o4755, vec![attribute]));
}
