//! Copies between directories that stand for a guest and for the host.

use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::*;
use crate::{
    Snapshot,
    union::{Access, FsError, UnionFs},
};

/// Directories `root`, `outside` and `host`, side by side.
fn places() -> (TempDir, [PathBuf; 3]) {
    let scratch = tempfile::tempdir().expect("a directory");
    let places = ["root", "outside", "host"].map(|name| scratch.path().join(name));
    for place in &places {
        fs::create_dir(place).expect("a directory");
    }
    (scratch, places)
}

fn live(root: &Path) -> LiveTree {
    LiveTree::new(File::open(root).expect("a directory"), &["proc"])
}

fn copy_in(source: &Path, files: &dyn GuestFiles, path: &str) -> Result<Vec<String>, CopyError> {
    let source = HostSource::open(source, false)?;
    let what = CopyIn { source: Some(source.source()), owners: false };
    let mut archive = Vec::new();
    source.pack(&mut archive)?;
    files.copy_in(&mut archive.as_slice(), path, &what)
}

fn copy_out(files: &dyn GuestFiles, path: &str, target: &Path) -> Result<Vec<String>, CopyError> {
    let mut archive = Vec::new();
    let skipped = files.copy_out(path, CopyOut::default(), &mut archive)?;
    let more = unpack_host(&mut archive.as_slice(), path, target, false)?;
    Ok([skipped, more].concat())
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).expect("a file")
}

#[test]
fn a_tree_is_the_same_when_it_comes_back() {
    let (_scratch, [root, _, host]) = places();
    let tree = host.join("tree");
    fs::create_dir_all(tree.join("sealed")).unwrap();
    fs::write(tree.join("sealed/file"), "content").unwrap();
    symlink("sealed/file", tree.join("link")).unwrap();
    fs::set_permissions(tree.join("sealed/file"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::set_permissions(tree.join("sealed"), fs::Permissions::from_mode(0o555)).unwrap();
    let files = live(&root);
    assert!(copy_in(&tree, &files, "/new").unwrap().is_empty());
    let mode = |path: &Path| path.symlink_metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&root.join("new/sealed")), 0o555);
    assert_eq!(mode(&root.join("new/sealed/file")), 0o4711);
    let back = host.join("back");
    assert!(copy_out(&files, "/new", &back).unwrap().is_empty());
    assert_eq!(mode(&back.join("sealed")), 0o555);
    // Set-user-ID would mean somebody else.
    assert_eq!(mode(&back.join("sealed/file")), 0o711);
    assert_eq!(read(back.join("link")), "content");
    for (one, other) in [(&tree, &back), (&tree, &root.join("new"))] {
        let time = |path: &Path| path.join("sealed").metadata().unwrap().modified().unwrap();
        assert_eq!(time(one), time(other));
    }
    // Whoever is not root could not remove it.
    for sealed in [tree, back, root.join("new")] {
        fs::set_permissions(sealed.join("sealed"), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn links_of_a_guest_lead_within_its_root() {
    let (_scratch, [root, outside, host]) = places();
    fs::write(host.join("file"), "new").unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    fs::create_dir(root.join("inner")).unwrap();
    symlink("/inner", root.join("absolute")).unwrap();
    symlink("../../inner", root.join("up")).unwrap();
    symlink(&outside, root.join("out")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    let files = live(&root);
    for (path, made) in [("/absolute/a", "inner/a"), ("/up/b", "inner/b"), ("/dangling", "nowhere")]
    {
        copy_in(&host.join("file"), &files, path).unwrap();
        assert_eq!(read(root.join(made)), "new");
    }
    for path in ["/out/secret", "/out/new", "/loop/x"] {
        assert!(copy_in(&host.join("file"), &files, path).is_err(), "{path}");
        assert!(copy_out(&files, path, &host).is_err(), "{path}");
    }
    assert_eq!(read(outside.join("secret")), "secret");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn an_archive_writes_through_no_link_and_over_nothing_but_files() {
    let (_scratch, [root, outside, host]) = places();
    let tree = host.join("tree");
    fs::create_dir_all(tree.join("dir")).unwrap();
    fs::write(tree.join("dir/file"), "new").unwrap();
    fs::write(outside.join("file"), "old").unwrap();
    // What the copy takes for a directory is a link when it comes there.
    fs::create_dir(root.join("tree")).unwrap();
    symlink(&outside, root.join("tree/dir")).unwrap();
    let files = live(&root);
    let error = copy_in(&tree, &files, "/").unwrap_err();
    assert!(
        matches!(error, CopyError::DirectoryToFile { ref path } if path == "/tree/dir"),
        "{error}"
    );
    // A file in the place of a link takes it.
    symlink(outside.join("file"), root.join("file")).unwrap();
    copy_in(&tree.join("dir/file"), &files, "/tree").unwrap();
    assert_eq!(read(root.join("tree/file")), "new");
    fs::remove_file(root.join("file")).unwrap();
    std::os::unix::net::UnixListener::bind(root.join("file")).unwrap();
    let error = copy_in(&tree.join("dir/file"), &files, "/file").unwrap_err();
    assert!(matches!(error, CopyError::NoFile { .. }), "{error}");
    assert_eq!(copy_out(&files, "/", &host.join("all")).unwrap(), ["./file"]);
    assert_eq!(read(outside.join("file")), "old");
}

#[test]
fn what_is_no_containers_is_left_out_of_all_and_had_by_its_name() {
    let (_scratch, [root, _, host]) = places();
    fs::create_dir_all(root.join("proc/sys")).unwrap();
    fs::create_dir_all(root.join("kept/proc")).unwrap();
    fs::write(root.join("proc/version"), "1").unwrap();
    let files = live(&root);
    copy_out(&files, "/", &host.join("all")).unwrap();
    assert!(!host.join("all/proc").exists() && host.join("all/kept/proc").exists());
    copy_out(&files, "/proc/version", &host).unwrap();
    assert_eq!(read(host.join("version")), "1");
}

/// A container without layers that has `volume` at `/data`, and read-only at `/kept`, and its file
/// `file` at `/etc/file`.
fn with_volumes(scratch: &Path, volume: &Path) -> Mounted {
    let [upper, work] = ["upper", "work"].map(|name| scratch.join(name));
    for directory in [&upper, &work, &upper.join("etc")] {
        fs::create_dir_all(directory).expect("a directory");
    }
    let layers = Snapshot { lowers: Vec::new(), upper, work };
    let layers = UnionFs::open(&layers, Access::ReadWrite).expect("layers");
    let mount = |destination: &str, source: PathBuf, readonly| Volume {
        destination: destination.to_owned(),
        source,
        readonly,
    };
    let mounts = [
        mount("/data", volume.to_owned(), false),
        mount("/kept", volume.to_owned(), true),
        mount("/etc/file", volume.join("file"), false),
    ];
    Mounted::new(layers, false, mounts)
}

#[test]
fn volumes_of_a_container_that_does_not_run_are_where_they_would_be() {
    let (scratch, [_, volume, host]) = places();
    fs::write(host.join("new"), "new").unwrap();
    fs::write(volume.join("file"), "old").unwrap();
    symlink("/etc", volume.join("link")).unwrap();
    let files = with_volumes(scratch.path(), &volume);
    copy_in(&host.join("new"), &files, "/data/made").unwrap();
    assert_eq!(read(volume.join("made")), "new");
    // A link in a volume leads where the container sees it lead.
    copy_in(&host.join("new"), &files, "/data/link/leaf").unwrap();
    assert_eq!(read(scratch.path().join("upper/etc/leaf")), "new");
    // A file that is a volume stays the file that it is.
    fs::hard_link(volume.join("file"), volume.join("same")).unwrap();
    copy_in(&host.join("new"), &files, "/etc/file").unwrap();
    assert_eq!(read(volume.join("same")), "new");
    for path in ["/kept/made", "/kept/other"] {
        let error = copy_in(&host.join("new"), &files, path).unwrap_err();
        let is_readonly = matches!(error, CopyError::Guest { source: FsError::ReadOnly, .. });
        assert!(is_readonly, "{path}: {error}");
    }
    let all = host.join("all");
    copy_out(&files, "/", &all).unwrap();
    for made in ["data/made", "kept/made", "etc/file", "etc/leaf"] {
        assert_eq!(read(all.join(made)), "new", "{made}");
    }
}

#[test]
fn both_sides_of_a_transfer_end_when_one_fails() {
    let lots = |output: &mut dyn Write| {
        for _ in 0..1024 {
            let written = output.write_all(&[0; 4096]);
            written.map_err(|source| Error::Write { what: entries::WHAT, source })?;
        }
        Ok(())
    };
    let error = transfer(lots, |_| Err::<(), _>(CopyError::NoDirectory { path: "x".to_owned() }));
    assert!(matches!(error, Err(CopyError::NoDirectory { .. })), "{error:?}");
    let fails = |_: &mut dyn Write| Err::<(), _>(CopyError::Name { name: "x".to_owned() });
    let error = transfer(fails, |archive| {
        std::io::copy(archive, &mut std::io::sink()).unwrap();
        Err::<(), _>(CopyError::NoDirectory { path: "x".to_owned() })
    });
    assert!(matches!(error, Err(CopyError::Name { .. })), "{error:?}");
}
