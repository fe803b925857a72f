use std::{fs, os::unix::fs::symlink, path::Path, time::UNIX_EPOCH};

use super::*;
use crate::{Lower, Snapshot, copy::LiveTree, digest::Digest, union::Access};

const GIVEN: Given = Given { owner: Some((0, 0)), mode: None, time: UNIX_EPOCH };

fn all(_: &[u8], _: FileKind) -> Verdict {
    Verdict::Take
}

/// The files of a directory, as those of an image.
fn files(root: &Path) -> UnionFs {
    let lower = Lower { diff_id: Digest::of(b""), path: root.to_owned() };
    let (upper, work) = (root.join("no-upper"), root.join("no-work"));
    let snapshot = Snapshot { lowers: vec![lower], upper, work };
    UnionFs::open(&snapshot, Access::ReadOnly).unwrap()
}

/// The paths of a composition, with a letter for what they are.
fn listed(composition: &Composition<'_>) -> Vec<String> {
    let entry = |(path, entry): (&Vec<u8>, &Entry<'_>)| {
        let letter = match entry.content {
            Content::Directory => 'd',
            Content::Symlink(_) => 'l',
            Content::Special(_) => 's',
            _ => 'f',
        };
        format!("{letter} {}", String::from_utf8_lossy(path))
    };
    composition.entries.iter().map(entry).collect()
}

#[test]
fn destinations_are_resolved_within_what_is_below() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("real/deep")).unwrap();
    symlink("/real", root.path().join("absolute")).unwrap();
    symlink("../../../real/deep", root.path().join("out")).unwrap();
    symlink("loop", root.path().join("loop")).unwrap();
    let files = files(root.path());
    let composition = Composition::new(&files);
    let found = |path: &str| {
        let located = composition.destination(path)?;
        Ok::<_, CopyError>((String::from_utf8(located.path).unwrap(), located.kind))
    };
    let directory = Some(FileKind::Directory);
    assert_eq!(found("/absolute/deep/").unwrap(), ("real/deep".to_owned(), directory));
    assert_eq!(found("out/new/file").unwrap(), ("real/deep/new/file".to_owned(), None));
    assert_eq!(found("/../..").unwrap(), (String::new(), directory));
    assert!(found("loop/x").is_err());
}

#[test]
fn directories_on_the_way_are_those_below_or_new() {
    let (root, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(root.path().join("etc")).unwrap();
    fs::write(root.path().join("etc/file"), "old").unwrap();
    fs::create_dir_all(source.path().join("a/b")).unwrap();
    fs::write(source.path().join("a/b/c"), "new").unwrap();
    symlink("c", source.path().join("a/b/link")).unwrap();
    let (files, tree) = (files(root.path()), LiveTree::open(source.path()).unwrap());
    let mut composition = Composition::new(&files);
    composition.copy(&tree, &Located::root(), b"etc/new", GIVEN, &all).unwrap();
    let paths = [
        "d etc",
        "d etc/new",
        "d etc/new/a",
        "d etc/new/a/b",
        "f etc/new/a/b/c",
        "l etc/new/a/b/link",
    ];
    assert_eq!(listed(&composition), paths);
    let inside = locate(&tree, b"a/b", Follow::All).unwrap();
    let over_file = composition.copy(&tree, &inside, b"etc/file", GIVEN, &all);
    assert!(matches!(over_file, Err(CopyError::DirectoryToFile { .. })), "{over_file:?}");
    let over_directory = composition.file(b"etc/new", b"", GIVEN);
    assert!(matches!(over_directory, Err(CopyError::FileToDirectory { .. })), "{over_directory:?}");
    composition.file(b"etc/file", b"newer", GIVEN).unwrap();
}

#[test]
fn what_is_left_out_takes_its_directory_with_it_unless_something_below_stays() {
    let (root, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for directory in ["kept/in", "gone/in"] {
        fs::create_dir_all(source.path().join(directory)).unwrap();
        fs::write(source.path().join(directory).join("file"), "").unwrap();
    }
    let (files, tree) = (files(root.path()), LiveTree::open(source.path()).unwrap());
    let mut composition = Composition::new(&files);
    let choice = |path: &[u8], kind| match path {
        b"kept/in/file" => Verdict::Take,
        _ if kind == FileKind::Directory => Verdict::Look,
        _ => Verdict::Skip,
    };
    composition.copy(&tree, &Located::root(), b"to", GIVEN, &choice).unwrap();
    assert_eq!(listed(&composition), ["d to", "d to/kept", "d to/kept/in", "f to/kept/in/file"]);
}

#[test]
fn digests_are_of_what_is_copied_and_not_of_when_it_was_changed() {
    let (root, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = source.path().join("file");
    fs::write(&path, "one").unwrap();
    let (files, tree) = (files(root.path()), LiveTree::open(source.path()).unwrap());
    let digest = |given: Given| {
        let mut composition = Composition::new(&files);
        composition.copy(&tree, &Located::root(), b"", given, &all).unwrap();
        composition.digest().unwrap()
    };
    let before = digest(GIVEN);
    fs::File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH).unwrap();
    assert_eq!(digest(GIVEN), before);
    assert_ne!(digest(Given { mode: Some(0o600), ..GIVEN }), before);
    assert_ne!(digest(Given { owner: Some((1, 1)), ..GIVEN }), before);
    fs::write(&path, "two").unwrap();
    assert_ne!(digest(GIVEN), before);
}

#[test]
fn archives_are_unpacked_within_their_destination() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("real")).unwrap();
    symlink("/real", root.path().join("link")).unwrap();
    let files = files(root.path());
    let place = tempfile::tempdir().unwrap();
    let store = crate::Store::open(&place.path().join("store")).unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, link: Option<&str>, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        if let Some(link) = link {
            header.set_link_name(link).unwrap();
        }
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, content).unwrap();
    };
    add("link/file", tar::EntryType::Regular, None, b"content");
    add("same", tar::EntryType::Link, Some("link/file"), b"");
    let bytes = archive.into_inner().unwrap();
    let mut composition = Composition::new(&files);
    let unpacked = store.unpacked(&mut bytes.as_slice(), "a").unwrap().unwrap();
    composition.unpack(&unpacked, b"", GIVEN).unwrap();
    assert_eq!(listed(&composition), ["d real", "f real/file", "f same"]);
    let mut content = String::new();
    let Content::File { open, .. } = &composition.entries[&b"same".to_vec()].content else {
        panic!("{composition:?}")
    };
    open().unwrap().read_to_string(&mut content).unwrap();
    assert_eq!(content, "content");
    assert!(store.unpacked(&mut &b"plain text"[..], "a").unwrap().is_none());
}
