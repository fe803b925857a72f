use std::{
    io::{Seek as _, SeekFrom, Write as _},
    path::PathBuf,
};

use super::*;
use crate::{
    Digest, Lower,
    tree::{Attributes, Writer},
};

/// A snapshot in a temporary directory.
struct Fixture {
    dir: tempfile::TempDir,
    lowers: usize,
    encoding: Encoding,
}

impl Fixture {
    /// With these lowers, the topmost first.
    fn new(encoding: Encoding, lowers: &[&dyn Fn(&mut Writer)]) -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap(), lowers: lowers.len(), encoding };
        for name in ["upper", "work"] {
            std::fs::create_dir(fixture.path(name)).unwrap();
        }
        for (index, fill) in lowers.iter().enumerate() {
            let path = fixture.path(&format!("lower{index}"));
            std::fs::create_dir(&path).unwrap();
            let mut writer = Writer::new(Directory::open_root(&path, encoding).unwrap());
            fill(&mut writer);
            writer.finish().unwrap();
        }
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn snapshot(&self) -> Snapshot {
        let lower = |index| Lower {
            diff_id: Digest::from_bytes([u8::try_from(index).unwrap(); 32]),
            path: self.path(&format!("lower{index}")),
        };
        Snapshot {
            lowers: (0..self.lowers).map(lower).collect(),
            upper: self.path("upper"),
            work: self.path("work"),
        }
    }

    fn open(&self, access: Access) -> UnionFs {
        UnionFs::open_encoded(&self.snapshot(), access, self.encoding).unwrap()
    }

    fn upper(&self) -> Directory {
        Directory::open_root(&self.path("upper"), self.encoding).unwrap()
    }
}

fn in_each_encoding(lowers: &[&dyn Fn(&mut Writer)], test: impl Fn(&Fixture)) {
    for encoding in [Encoding::Overlay, Encoding::Portable] {
        if encoding == Encoding::Portable || cfg!(target_os = "linux") {
            test(&Fixture::new(encoding, lowers));
        }
    }
}

fn attributes() -> Attributes {
    Attributes::new(0o755, SystemTime::UNIX_EPOCH)
}

fn file(writer: &mut Writer, path: &str, mut content: &[u8]) {
    writer.file(path.as_bytes(), &attributes(), &mut content).unwrap();
}

fn link(writer: &mut Writer, path: &str, target: &str) {
    writer.symlink(path.as_bytes(), target.as_bytes(), &attributes()).unwrap();
}

fn read(fs: &UnionFs, path: &str) -> FsResult<String> {
    let file = fs.open_file(fs.resolve(ROOT, path, Follow::All)?, OpenOptions::READ)?;
    let mut content = vec![0; usize::try_from(file.len()?).unwrap()];
    let count = file.read_at(&mut content, 0)?;
    assert_eq!(count, content.len());
    Ok(String::from_utf8(content).unwrap())
}

fn write(fs: &UnionFs, path: &str, content: &str) -> FsResult<()> {
    let (parent, name) = fs.resolve_parent(ROOT, path)?;
    let (_, file) = fs.create(parent, &name, false, 0o644)?;
    file.set_len(0)?;
    assert_eq!(file.write_at(content.as_bytes(), 0)?, content.len());
    Ok(())
}

fn at(fs: &UnionFs, path: &str) -> Node {
    fs.resolve(ROOT, path, Follow::AllButLast).unwrap()
}

fn list(fs: &UnionFs, path: &str) -> Vec<String> {
    let mut names: Vec<_> = fs.readdir(at(fs, path)).unwrap().into_iter().map(|e| e.name).collect();
    names.sort();
    names
}

fn unlink(fs: &UnionFs, path: &str) -> FsResult<()> {
    let (parent, name) = fs.resolve_parent(ROOT, path)?;
    fs.unlink(parent, &name)
}

fn rmdir(fs: &UnionFs, path: &str) -> FsResult<()> {
    let (parent, name) = fs.resolve_parent(ROOT, path)?;
    fs.rmdir(parent, &name)
}

fn rename(fs: &UnionFs, from: &str, to: &str) -> FsResult<()> {
    let (from, to) = (fs.resolve_parent(ROOT, from)?, fs.resolve_parent(ROOT, to)?);
    fs.rename(from.0, &from.1, to.0, &to.1)
}

fn mkdir(fs: &UnionFs, path: &str) -> FsResult<Node> {
    let (parent, name) = fs.resolve_parent(ROOT, path)?;
    fs.mkdir(parent, &name, 0o755)
}

fn errno<T: fmt::Debug>(result: FsResult<T>) -> &'static str {
    result.unwrap_err().errno()
}

fn two_layers() -> [&'static dyn Fn(&mut Writer); 2] {
    [
        &|top| {
            file(top, "etc/hosts", b"top");
            top.whiteout(b"etc/gone").unwrap();
            file(top, "opaque/new", b"new");
            top.opaque(b"opaque").unwrap();
        },
        &|bottom| {
            file(bottom, "etc/hosts", b"bottom");
            file(bottom, "etc/gone", b"gone");
            file(bottom, "etc/passwd", b"root");
            file(bottom, "opaque/old", b"old");
            file(bottom, "dir/sub/deep", b"deep");
            file(bottom, "dir/file", b"file");
            bottom.directory(b"empty", &attributes()).unwrap();
        },
    ]
}

#[test]
fn upper_layers_hide_and_merge_with_lower_ones() {
    in_each_encoding(&two_layers(), |fixture| {
        let fs = fixture.open(Access::ReadOnly);
        assert_eq!(list(&fs, "/"), ["dir", "empty", "etc", "opaque"]);
        assert_eq!(list(&fs, "/etc"), ["hosts", "passwd"]);
        assert_eq!(list(&fs, "/opaque"), ["new"]);
        assert_eq!(read(&fs, "/etc/hosts").unwrap(), "top");
        assert_eq!(errno(fs.resolve(ROOT, "/etc/gone", Follow::All)), "ENOENT");
        let provenance = |path| fs.provenance(at(&fs, path)).unwrap();
        let digest = |byte| Digest::from_bytes([byte; 32]);
        assert_eq!(provenance("etc/hosts"), Provenance::Lower { index: 0, diff_id: digest(0) });
        assert_eq!(provenance("etc/passwd"), Provenance::Lower { index: 1, diff_id: digest(1) });
    });
}

#[test]
fn a_read_only_union_refuses_each_change_and_needs_no_upper() {
    in_each_encoding(&two_layers(), |fixture| {
        std::fs::remove_dir(fixture.path("upper")).unwrap();
        let fs = fixture.open(Access::ReadOnly);
        assert_eq!(read(&fs, "etc/passwd").unwrap(), "root");
        assert_eq!(errno(write(&fs, "etc/passwd", "")), "EROFS");
        assert_eq!(errno(write(&fs, "etc/new", "")), "EROFS");
        assert_eq!(errno(unlink(&fs, "etc/hosts")), "EROFS");
        assert_eq!(errno(rename(&fs, "etc/hosts", "etc/x")), "EROFS");
        assert_eq!(errno(mkdir(&fs, "etc")), "EEXIST");
        assert_eq!(errno(mkdir(&fs, "new")), "EROFS");
        assert_eq!(errno(fs.set_times(ROOT, None, None)), "EROFS");
    });
}

#[test]
fn links_and_dots_stay_within_the_root() {
    let lower = |lower: &mut Writer| {
        file(lower, "etc/passwd", b"guest");
        link(lower, "up", "../../../../etc");
        link(lower, "etc/absolute", "/etc/passwd");
        link(lower, "loop", "loop");
        link(lower, "one", "two/");
        link(lower, "two", "etc/../etc/.");
        link(lower, "dangling", "nowhere");
    };
    in_each_encoding(&[&lower], |fixture| {
        let fs = fixture.open(Access::ReadOnly);
        for path in
            ["../../etc/passwd", "/..//etc/./passwd", "up/passwd", "etc/absolute", "one/passwd"]
        {
            assert_eq!(read(&fs, path).unwrap(), "guest", "{path}");
        }
        assert_eq!(fs.resolve(ROOT, "/..", Follow::All).unwrap(), ROOT);
        assert_eq!(errno(fs.resolve(ROOT, "loop", Follow::All)), "ELOOP");
        assert_eq!(errno(fs.resolve(ROOT, "loop/x", Follow::AllButLast)), "ELOOP");
        assert_eq!(errno(fs.resolve(ROOT, "dangling", Follow::All)), "ENOENT");
        assert_eq!(errno(fs.resolve(ROOT, "etc/passwd/", Follow::All)), "ENOTDIR");
        assert_eq!(errno(fs.resolve(ROOT, "etc/passwd/..", Follow::All)), "ENOTDIR");
        assert_eq!(errno(fs.resolve(ROOT, "", Follow::All)), "ENOENT");
        assert_eq!(errno(fs.resolve(ROOT, &"a/".repeat(3000), Follow::All)), "ENAMETOOLONG");
        assert_eq!(errno(fs.resolve(ROOT, &"a".repeat(256), Follow::All)), "ENAMETOOLONG");
        assert_eq!(fs.readlink(at(&fs, "loop")).unwrap(), "loop");
        assert_eq!(errno(fs.lookup(ROOT, "..")), "EINVAL");
        assert_eq!(errno(fs.lookup(ROOT, "etc/passwd")), "EINVAL");
        assert_eq!(errno(fs.resolve_parent(ROOT, "/")), "EINVAL");
        assert_eq!(errno(fs.resolve_parent(ROOT, "etc/passwd/")), "ENOTDIR");
        assert_eq!(fs.resolve_parent(ROOT, "up/x").unwrap(), (at(&fs, "etc"), "x".to_owned()));
    });
}

#[test]
fn changes_go_to_the_upper_and_leave_the_lowers_alone() {
    in_each_encoding(&two_layers(), |fixture| {
        let fs = fixture.open(Access::ReadWrite);
        write(&fs, "etc/passwd", "changed").unwrap();
        write(&fs, "etc/gone", "back").unwrap();
        unlink(&fs, "etc/hosts").unwrap();
        assert_eq!(errno(unlink(&fs, "etc/hosts")), "ENOENT");
        assert_eq!(errno(unlink(&fs, "dir")), "EISDIR");
        assert_eq!(errno(rmdir(&fs, "dir")), "ENOTEMPTY");
        assert_eq!(errno(rmdir(&fs, "etc/passwd")), "ENOTDIR");
        rmdir(&fs, "empty").unwrap();
        for fs in [fs, fixture.open(Access::ReadWrite)] {
            assert_eq!(list(&fs, "/"), ["dir", "etc", "opaque"]);
            assert_eq!(list(&fs, "/etc"), ["gone", "passwd"]);
            assert_eq!(read(&fs, "etc/passwd").unwrap(), "changed");
            assert_eq!(read(&fs, "etc/gone").unwrap(), "back");
        }
        let etc = fixture.upper().open_dir(b"etc").unwrap();
        assert!(
            etc.entries().unwrap().iter().any(|e| &*e.name == b"hosts" && e.kind == Kind::Whiteout)
        );
        std::fs::remove_dir_all(fixture.path("upper")).unwrap();
        std::fs::create_dir(fixture.path("upper")).unwrap();
        assert_eq!(read(&fixture.open(Access::ReadOnly), "etc/passwd").unwrap(), "root");
    });
}

#[test]
fn a_directory_made_in_place_of_a_removed_one_is_empty() {
    in_each_encoding(&two_layers(), |fixture| {
        let fs = fixture.open(Access::ReadWrite);
        unlink(&fs, "dir/sub/deep").unwrap();
        rmdir(&fs, "dir/sub").unwrap();
        unlink(&fs, "dir/file").unwrap();
        rmdir(&fs, "dir").unwrap();
        mkdir(&fs, "dir").unwrap();
        write(&fs, "dir/own", "own").unwrap();
        for fs in [fs, fixture.open(Access::ReadWrite)] {
            assert_eq!(list(&fs, "dir"), ["own"]);
        }
        assert!(fixture.upper().open_dir(b"dir").unwrap().is_opaque().unwrap());
    });
}

#[test]
fn directories_of_lowers_can_be_renamed() {
    in_each_encoding(&two_layers(), |fixture| {
        let fs = fixture.open(Access::ReadWrite);
        let deep = at(&fs, "dir/sub/deep");
        unlink(&fs, "dir/file").unwrap();
        rename(&fs, "dir", "opaque/moved").unwrap();
        assert_eq!(at(&fs, "opaque/moved/sub/deep"), deep);
        assert_eq!(fs.stat(deep).unwrap().size, 4);
        assert_eq!(errno(rename(&fs, "opaque", "opaque/moved/x")), "EINVAL");
        mkdir(&fs, "dir").unwrap();
        rename(&fs, "opaque/moved", "dir").unwrap();
        assert_eq!(errno(rename(&fs, "dir", "etc")), "ENOTEMPTY");
        assert_eq!(errno(rename(&fs, "etc/hosts", "dir")), "EISDIR");
        assert_eq!(errno(rename(&fs, "dir", "etc/hosts")), "ENOTDIR");
        for fs in [fs, fixture.open(Access::ReadWrite)] {
            assert_eq!(list(&fs, "/"), ["dir", "empty", "etc", "opaque"]);
            assert_eq!(list(&fs, "dir"), ["sub"]);
            assert_eq!(read(&fs, "dir/sub/deep").unwrap(), "deep");
        }
        assert_eq!(std::fs::read_dir(fixture.path("work")).unwrap().count(), 0);
    });
}

#[test]
fn renaming_over_a_file_replaces_it_and_keeps_the_node() {
    in_each_encoding(&two_layers(), |fixture| {
        let fs = fixture.open(Access::ReadWrite);
        fs.symlink(ROOT, "link", "etc/passwd").unwrap();
        let passwd = at(&fs, "etc/passwd");
        rename(&fs, "etc/passwd", "etc/hosts").unwrap();
        assert_eq!(at(&fs, "etc/hosts"), passwd);
        assert_eq!(read(&fs, "etc/hosts").unwrap(), "root");
        rename(&fs, "link", "etc/hosts").unwrap();
        rename(&fs, "dir/file", "etc/gone").unwrap();
        for fs in [fs, fixture.open(Access::ReadWrite)] {
            assert_eq!(list(&fs, "etc"), ["gone", "hosts"]);
            assert_eq!(fs.readlink(at(&fs, "etc/hosts")).unwrap(), "etc/passwd");
            assert_eq!(list(&fs, "dir"), ["sub"]);
        }
    });
}

#[test]
fn a_removed_file_stays_usable_while_it_is_open() {
    in_each_encoding(&two_layers(), |fixture| {
        let fs = fixture.open(Access::ReadWrite);
        let lower = fs.open_file(at(&fs, "etc/passwd"), OpenOptions::READ).unwrap();
        unlink(&fs, "etc/passwd").unwrap();
        let mut content = [0; 4];
        assert_eq!(lower.read_at(&mut content, 0).unwrap(), 4);
        assert_eq!(lower.metadata().unwrap().size, 4);
        let (node, new) = fs.create(ROOT, "new", true, 0o600).unwrap();
        unlink(&fs, "new").unwrap();
        assert_eq!(new.write_at(b"still here", 0).unwrap(), 10);
        assert_eq!(fs.stat(node).unwrap().size, 10);
        let (again, _) = fs.create(ROOT, "new", true, 0o600).unwrap();
        assert_ne!(again, node);
        drop(new);
        assert_eq!(errno(fs.stat(node)), "ENOENT");
    });
}

#[test]
fn readers_see_what_is_written_after_copy_up() {
    in_each_encoding(&two_layers(), |fixture| {
        let fs = fixture.open(Access::ReadWrite);
        let node = at(&fs, "etc/passwd");
        let reader = fs.open_file(node, OpenOptions::READ).unwrap();
        let append = OpenOptions { append: true, ..OpenOptions::default() };
        let writer = fs.open_file(node, append).unwrap();
        assert_eq!(writer.write_at(b":x", 0).unwrap(), 2);
        assert_eq!(reader.len().unwrap(), 6);
        assert_eq!(errno(writer.read_at(&mut [0], 0)), "EBADF");
        assert_eq!(errno(reader.write_at(b"x", 0)), "EBADF");
        assert_eq!(fs.provenance(node).unwrap(), Provenance::Upper);
        let truncate = OpenOptions { write: true, truncate: true, ..OpenOptions::default() };
        fs.open_file(at(&fs, "etc/hosts"), truncate).unwrap();
        assert_eq!(read(&fs, "etc/hosts").unwrap(), "");
    });
}

#[test]
fn hard_links_share_content_and_inode() {
    in_each_encoding(&two_layers(), |fixture| {
        let fs = fixture.open(Access::ReadWrite);
        let passwd = at(&fs, "etc/passwd");
        let inode = fs.stat(passwd).unwrap().inode;
        fs.link(passwd, ROOT, "link").unwrap();
        assert_eq!(errno(fs.link(at(&fs, "etc"), ROOT, "etc2")), "EPERM");
        assert_eq!(errno(fs.link(passwd, ROOT, "link")), "EEXIST");
        write(&fs, "link", "shared").unwrap();
        assert_eq!(read(&fs, "etc/passwd").unwrap(), "shared");
        if cfg!(unix) {
            assert_eq!(fs.stat(at(&fs, "link")).unwrap().inode, inode);
            assert_eq!(fs.stat(passwd).unwrap().nlink, 2);
            rename(&fs, "link", "etc/passwd").unwrap();
            assert_eq!(list(&fs, "/"), ["dir", "empty", "etc", "link", "opaque"]);
        }
        unlink(&fs, "etc/passwd").unwrap();
        assert_eq!(read(&fs, "link").unwrap(), "shared");
    });
}

#[test]
fn names_are_exact_and_may_be_what_the_host_refuses() {
    in_each_encoding(&[], |fixture| {
        let fs = fixture.open(Access::ReadWrite);
        let long = "ß".repeat(127);
        let mut names = vec![
            "A",
            "a",
            "aux",
            "b:c",
            "con.txt",
            "dot.",
            "é",
            "e\u{301}",
            "日本",
            "%6c",
            "%wx",
            long.as_str(),
        ];
        names.sort_unstable();
        for name in &names {
            write(&fs, name, name).unwrap();
        }
        fs.symlink(ROOT, "lpt1", "A").unwrap();
        unlink(&fs, "lpt1").unwrap();
        for fs in [fs, fixture.open(Access::ReadWrite)] {
            assert_eq!(list(&fs, "/"), names);
            for name in &names {
                assert_eq!(read(&fs, name).unwrap(), *name);
            }
            assert_eq!(errno(fs.lookup(ROOT, "AUX")), "ENOENT");
            assert_eq!(errno(fs.lookup(ROOT, "É")), "ENOENT");
        }
    });
}

#[test]
fn who_reads_a_file_sees_its_copy_also_when_that_has_lost_its_name() {
    in_each_encoding(&two_layers(), |fixture| {
        let fs = fixture.open(Access::ReadWrite);
        let node = at(&fs, "etc/passwd");
        let reader = fs.open_file(node, OpenOptions::READ).unwrap();
        let writer = fs.open_file(node, OpenOptions::READ_WRITE).unwrap();
        unlink(&fs, "etc/passwd").unwrap();
        assert_eq!(writer.write_at(b"copied", 0).unwrap(), 6);
        let mut content = [0; 6];
        assert_eq!(reader.read_at(&mut content, 0).unwrap(), 6);
        assert_eq!(&content, b"copied");
        assert_eq!(reader.metadata().unwrap().size, 6);
    });
}

#[test]
fn copies_keep_holes_and_leave_out_what_is_cut_off() {
    const LENGTH: u64 = 64 << 20;
    let lower = |lower: &mut Writer| file(lower, "sparse", b"");
    in_each_encoding(&[&lower], |fixture| {
        let inner = Directory::open_root(&fixture.path("lower0"), fixture.encoding).unwrap();
        let original = inner.open_file(b"sparse", true).unwrap();
        (&original).write_all(b"begin").unwrap();
        (&original).seek(SeekFrom::Start(LENGTH - 3)).unwrap();
        (&original).write_all(b"end").unwrap();
        drop(original);

        let fs = fixture.open(Access::ReadWrite);
        let node = at(&fs, "sparse");
        fs.set_mode(node, 0o600).unwrap();
        let copy = fs.open_file(node, OpenOptions::READ).unwrap();
        let mut bytes = [1; 5];
        for (offset, expected) in [(0, b"begin"), (LENGTH / 2, &[0; 5]), (LENGTH - 5, b"\0\0end")] {
            assert_eq!(copy.read_at(&mut bytes, offset).unwrap(), 5);
            assert_eq!(&bytes, expected, "{offset}");
        }
        assert_eq!(copy.len().unwrap(), LENGTH);
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let host = fixture.upper().open_file(b"sparse", false).unwrap();
            assert!(host.metadata().unwrap().blocks() * 512 < 1 << 20, "the hole was filled");
        }
    });
    in_each_encoding(&two_layers(), |fixture| {
        let fs = fixture.open(Access::ReadWrite);
        fs.set_len(at(&fs, "etc/passwd"), 3).unwrap();
        assert_eq!(read(&fs, "etc/passwd").unwrap(), "roo");
        fs.set_len(at(&fs, "etc/hosts"), 5).unwrap();
        assert_eq!(read(&fs, "etc/hosts").unwrap(), "top\0\0");
    });
}

#[test]
fn directories_and_files_can_be_synced_wherever_they_are() {
    in_each_encoding(&two_layers(), |fixture| {
        let fs = fixture.open(Access::ReadWrite);
        for path in ["/", "etc", "dir/sub"] {
            fs.sync_directory(at(&fs, path)).unwrap();
        }
        let reader = fs.open_file(at(&fs, "dir/sub/deep"), OpenOptions::READ).unwrap();
        reader.sync().unwrap();
        fs.open_file(at(&fs, "dir/sub/deep"), OpenOptions::READ_WRITE).unwrap().sync().unwrap();
        reader.sync_data().unwrap();
        rename(&fs, "dir", "moved").unwrap();
        reader.sync().unwrap();
        fs.sync_directory(at(&fs, "moved/sub")).unwrap();
        assert_eq!(errno(fs.sync_directory(reader.node())), "ENOTDIR");
    });
}

#[test]
fn times_and_lengths_are_set_where_asked() {
    in_each_encoding(&two_layers(), |fixture| {
        let fs = fixture.open(Access::ReadWrite);
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_234_567_891_500);
        for path in ["etc/passwd", "etc", "/"] {
            fs.set_times(at(&fs, path), None, Some(time)).unwrap();
            assert_eq!(fs.stat(at(&fs, path)).unwrap().mtime, time, "{path}");
        }
        fs.set_len(at(&fs, "etc/passwd"), 2).unwrap();
        assert_eq!(read(&fs, "etc/passwd").unwrap(), "ro");
        let dir = fs.stat(at(&fs, "dir")).unwrap().mtime;
        fs.open_file(at(&fs, "dir/file"), OpenOptions::READ_WRITE).unwrap().sync().unwrap();
        assert_eq!(fs.stat(at(&fs, "dir")).unwrap().mtime, dir, "copy-up is no change");
    });
}

#[cfg(unix)]
#[test]
fn a_file_of_the_upper_has_times_to_be_set_also_without_a_name() {
    in_each_encoding(&two_layers(), |fixture| {
        let fs = fixture.open(Access::ReadWrite);
        write(&fs, "new", "content").unwrap();
        let file = fs.open_file(at(&fs, "new"), OpenOptions::READ).unwrap();
        unlink(&fs, "new").unwrap();
        file.set_times(None, Some(SystemTime::UNIX_EPOCH)).unwrap();
        assert_eq!(file.metadata().unwrap().mtime, SystemTime::UNIX_EPOCH);
    });
}
