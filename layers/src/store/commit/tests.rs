use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    ChangeKind, ImportOptions,
    store::Pin,
    tree::{Attributes, Directory, Writer},
    union::{FileKind, FsResult, Node, OpenOptions},
};

struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
    image: Image,
}

/// What a guest does to its files.
#[derive(Clone, Debug)]
enum Step {
    Write(String, Vec<u8>),
    MakeDirectory(String),
    Symlink(String, String),
    Link(String, String),
    Remove(String),
    Rename(String, String),
    Mode(String, u32),
}

impl Fixture {
    /// A store with an image of one layer.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let options = ImportOptions { name: Some("base".parse().unwrap()), ..Default::default() };
        let digest = store.import(&*base(), &options, &mut |_| ()).unwrap();
        let image = store.image(&digest).unwrap();
        Self { dir, store, image }
    }

    fn snapshot(&self, image: &Image, name: &str) -> Snapshot {
        let dir = self.dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        self.store.snapshot(image, &dir).unwrap()
    }

    fn commit(&self, snapshot: &Snapshot, options: &CommitOptions) -> Image {
        let digest = self.store.commit(&self.image, snapshot, options).unwrap();
        self.store.image(&digest).unwrap()
    }
}

/// An archive with files, directories, links and a name in two places.
fn base() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let root = Directory::open_root(dir.path(), Encoding::host()).unwrap();
    let mut writer = Writer::new(root);
    let attributes = Attributes::new(0o755, SystemTime::UNIX_EPOCH);
    for path in ["a/b/c", "a/b/d", "a/e", "f", "g/h"] {
        writer.file(path.as_bytes(), &attributes, &mut path.as_bytes()).unwrap();
    }
    writer.hard_link(b"a/same", b"a/e").unwrap();
    writer.symlink(b"link", b"a/b", &attributes).unwrap();
    writer.finish().unwrap();
    let mut archive = Archive::new(Vec::new());
    pack::pack_tree(&view(dir.path()), &Omitted::default(), &mut archive).unwrap();
    archive.finish().unwrap()
}

/// The files of one tree.
fn view(path: &Path) -> UnionFs {
    let lower = Lower { diff_id: Digest::of(b""), path: path.to_owned() };
    let snapshot = Snapshot { lowers: vec![lower], upper: PathBuf::new(), work: PathBuf::new() };
    UnionFs::open(&snapshot, Access::ReadOnly).unwrap()
}

fn apply(files: &UnionFs, step: &Step) -> FsResult<()> {
    let parent = |path: &str| files.resolve_parent(ROOT, path);
    let node = |path: &str| files.resolve(ROOT, path, Follow::AllButLast);
    match step {
        Step::Write(path, content) => {
            let (directory, name) = parent(path)?;
            let (_, file) = files.create(directory, &name, false, 0o640)?;
            file.set_len(0)?;
            file.write_at(content, 0).map(drop)
        }
        Step::MakeDirectory(path) => {
            let (directory, name) = parent(path)?;
            files.mkdir(directory, &name, 0o750).map(drop)
        }
        Step::Symlink(path, target) => {
            let (directory, name) = parent(path)?;
            files.symlink(directory, &name, target).map(drop)
        }
        Step::Link(from, to) => {
            let (directory, name) = parent(to)?;
            files.link(node(from)?, directory, &name)
        }
        Step::Remove(path) => {
            let (directory, name) = parent(path)?;
            remove(files, directory, &name)
        }
        Step::Rename(from, to) => {
            let (from, to) = (parent(from)?, parent(to)?);
            files.rename(from.0, &from.1, to.0, &to.1)
        }
        Step::Mode(path, mode) => files.set_mode(node(path)?, *mode),
    }
}

fn remove(files: &UnionFs, directory: Node, name: &str) -> FsResult<()> {
    let node = files.lookup(directory, name)?;
    if files.kind(node)? != FileKind::Directory {
        return files.unlink(directory, name);
    }
    for entry in files.readdir(node)? {
        remove(files, node, &entry.name)?;
    }
    files.rmdir(directory, name)
}

/// Everything about a file system that a new layer must keep, by path.
fn dump(files: &UnionFs) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    // Names of one file are told by the first of them.
    let mut linked = BTreeMap::new();
    let mut pending = vec![(String::new(), ROOT)];
    while let Some((path, node)) = pending.pop() {
        let mut entries = files.list(node).unwrap();
        entries.sort();
        for (name, node) in entries {
            let path = format!("{path}/{}", String::from_utf8_lossy(&name));
            let attributes = files.attributes(node).unwrap();
            let kind = files.kind(node).unwrap();
            let content = match kind {
                FileKind::File => {
                    let file = files.open_file(node, OpenOptions::READ).unwrap();
                    let mut content = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
                    assert_eq!(file.read_at(&mut content, 0).unwrap(), content.len());
                    let identity = files.raw_stat(node).unwrap().identity;
                    let first = linked.entry(identity).or_insert_with(|| path.clone());
                    format!("{content:?} {first}")
                }
                FileKind::Symlink => format!("{:?}", files.target(node).unwrap()),
                FileKind::Directory => {
                    pending.push((path.clone(), node));
                    String::new()
                }
                _ => String::new(),
            };
            let time = (kind == FileKind::File).then_some(attributes.mtime);
            found.insert(path, format!("{kind:?} {:o} {time:?} {content}", attributes.mode));
        }
    }
    found
}

fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c", "e", "f", "new", "link", "same"]);
    prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (path(), prop::collection::vec(any::<u8>(), 0..9)).prop_map(|(p, c)| Step::Write(p, c)),
        2 => path().prop_map(Step::MakeDirectory),
        1 => (path(), path()).prop_map(|(p, t)| Step::Symlink(p, t)),
        1 => (path(), path()).prop_map(|(p, t)| Step::Link(p, t)),
        3 => path().prop_map(Step::Remove),
        2 => (path(), path()).prop_map(|(p, t)| Step::Rename(p, t)),
        1 => (path(), prop::sample::select(vec![0o700, 0o4755, 0o444])).prop_map(|(p, m)| Step::Mode(p, m)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_new_image_shows_what_its_container_showed(steps in prop::collection::vec(step(), 0..12)) {
        let fixture = Fixture::new();
        let snapshot = fixture.snapshot(&fixture.image, "container");
        {
            let files = UnionFs::open(&snapshot, Access::ReadWrite).unwrap();
            for step in &steps {
                // What the guest may not do it is not let do.
                let _ = apply(&files, step);
            }
        }
        let _pin = fixture.store.pin().unwrap();
        let seen = dump(&UnionFs::open(&snapshot, Access::ReadOnly).unwrap());
        let image = fixture.commit(&snapshot, &CommitOptions::default());
        prop_assert_eq!(&dump(&fixture.store.files(&image).unwrap()), &seen);

        let squashed = fixture.store.squash(&image, &CommitOptions::default()).unwrap();
        let squashed = fixture.store.image(&squashed).unwrap();
        prop_assert!(squashed.diff_ids.len() <= 1);
        prop_assert_eq!(&dump(&fixture.store.files(&squashed).unwrap()), &seen);

        // The listing of changes names what is new and gone, and nothing that stayed.
        let (before, after) = (fixture.store.files(&fixture.image).unwrap(), fixture.store.files(&image).unwrap());
        let told = snapshot.changes(&Omitted::default()).unwrap();
        let differing = crate::compare(&before, &after).unwrap();
        for change in &differing {
            prop_assert!(told.contains(change), "{change:?} is not in {told:?}");
        }
        for change in told.iter().filter(|change| change.kind != ChangeKind::Modified) {
            prop_assert!(differing.contains(change), "{change:?} is not in {differing:?}");
        }
    }
}

#[test]
fn a_commit_adds_a_layer_of_the_change_and_shares_the_rest() {
    let fixture = Fixture::new();
    let snapshot = fixture.snapshot(&fixture.image, "container");
    let files = UnionFs::open(&snapshot, Access::ReadWrite).unwrap();
    apply(&files, &Step::Write("a/new".into(), b"content".to_vec())).unwrap();
    let options = CommitOptions {
        name: Some("app:2".parse().unwrap()),
        author: Some("Ada".to_owned()),
        message: Some("more".to_owned()),
        created_by: "sh".to_owned(),
        created: Some(SystemTime::UNIX_EPOCH),
        config: Some(json!({ "Cmd": ["x"], "Healthcheck": { "Test": ["NONE"] } })),
        ..CommitOptions::default()
    };
    let image = fixture.commit(&snapshot, &options);
    assert_eq!(image.diff_ids[0], fixture.image.diff_ids[0]);
    assert_eq!(image.diff_ids.len(), 2);
    let config = fixture.store.config_document(&image).unwrap();
    assert_eq!(config["config"]["Healthcheck"]["Test"], json!(["NONE"]));
    assert_eq!(config["author"], "Ada");
    assert_eq!(
        config["history"][1],
        json!({
            "created": "1970-01-01T00:00:00Z", "created_by": "sh", "author": "Ada", "comment": "more"
        })
    );
    assert_eq!(fixture.store.resolve("app:2", &[]).unwrap().digest, image.digest);
    assert!(fixture.store.check(false).unwrap().is_whole());
    // The same changes make the same image.
    assert_eq!(fixture.commit(&snapshot, &options).digest, image.digest);
}

#[test]
fn without_changes_there_is_no_new_layer() {
    let fixture = Fixture::new();
    let snapshot = fixture.snapshot(&fixture.image, "container");
    std::fs::create_dir(snapshot.upper.join("proc")).unwrap();
    let omitted = Omitted::mount_points(["/proc"]);
    assert_eq!(snapshot.changes(&omitted).unwrap(), []);
    let image = fixture.commit(&snapshot, &CommitOptions { omitted, ..Default::default() });
    assert_eq!(image.diff_ids, fixture.image.diff_ids);
    let config = fixture.store.config_document(&image).unwrap();
    assert_eq!(config["history"][1]["empty_layer"], json!(true));
}

#[test]
fn what_is_excluded_stays_out_and_volumes_come_in() {
    let fixture = Fixture::new();
    let snapshot = fixture.snapshot(&fixture.image, "container");
    let files = UnionFs::open(&snapshot, Access::ReadWrite).unwrap();
    apply(&files, &Step::Write("a/secret".into(), b"s".to_vec())).unwrap();
    apply(&files, &Step::Write("a/kept".into(), b"k".to_vec())).unwrap();
    let volume = fixture.dir.path().join("volume");
    std::fs::create_dir_all(volume.join("in")).unwrap();
    std::fs::write(volume.join("in/File"), "v").unwrap();
    let options = CommitOptions {
        omitted: Omitted::default().excluding(["/a/secret"]),
        volumes: vec![
            ("/data".to_owned(), volume.clone()),
            ("/one".to_owned(), volume.join("in/File")),
        ],
        ..CommitOptions::default()
    };
    let image = fixture.commit(&snapshot, &options);
    let _pin: Pin = fixture.store.pin().unwrap();
    let found = dump(&fixture.store.files(&image).unwrap());
    assert!(found.contains_key("/a/kept") && !found.contains_key("/a/secret"), "{found:#?}");
    assert!(found.contains_key("/data/in/File") && found.contains_key("/one"), "{found:#?}");
}
