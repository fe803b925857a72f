mod images;
mod transfer;

use std::{cell::Cell, collections::HashSet, io::Write as _, thread};

use super::*;
use crate::{Image, ImportOptions, Loaded, Platform, Reference, Source, progress::Progress};

const NOBODY: &dyn Fn(&Digest) -> bool = &|_| false;

struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    fn import(&self, name: &str, file: &str) -> Digest {
        self.import_for(name, file, Platform::linux())
    }

    fn import_for(&self, name: &str, file: &str, platform: Platform) -> Digest {
        let options = ImportOptions {
            name: Some(name.parse().unwrap()),
            platform: Some(platform),
            ..ImportOptions::default()
        };
        self.store.import(&*tar(file), &options, &mut |_| ()).unwrap()
    }

    fn count(&self, directory: &str) -> usize {
        fs::read_dir(self.store.root.join(directory)).unwrap().count()
    }

    /// Blobs, layers and unfinished work.
    fn counts(&self) -> (usize, usize, usize) {
        let unfinished = self.count("tmp") - 1;
        (self.count("blobs/sha256"), self.count("layers"), unfinished)
    }

    fn load(&self, content: &[u8]) -> Result<Vec<Loaded>> {
        let path = self.dir.path().join("input");
        fs::write(&path, content).unwrap();
        self.store.load(Source::Path(&path), &mut |_| ())
    }
}

/// A layer's archive with one file, called and holding `name`.
fn tar(name: &str) -> Vec<u8> {
    archive(&[(name, name.as_bytes())])
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn config(diff_id: Digest) -> String {
    format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
    )
}

/// What `docker save` wrote before version 25, with a symbolic link to the layer.
fn docker_archive(layer: &[u8], diff_id: Digest) -> Vec<u8> {
    let mut start = archive(&[
        ("config.json", config(diff_id).as_bytes()),
        ("one/layer.tar", layer),
        (
            "manifest.json",
            br#"[{"Config":"config.json","RepoTags":["app:1","app:2"],"Layers":["two/layer.tar"]}]"#,
        ),
    ]);
    start.truncate(start.len() - 1024);
    let mut builder = tar::Builder::new(start);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "two/layer.tar", "../one/layer.tar").unwrap();
    builder.into_inner().unwrap()
}

/// An OCI archive with one image of one layer, and how to damage it.
struct Oci {
    layer: Vec<u8>,
    layer_type: &'static str,
    diff_id: Digest,
    named_layer: Option<Digest>,
    left_out: bool,
}

impl Oci {
    fn new(file: &str) -> Self {
        Self {
            layer: gzip(&tar(file)),
            layer_type: "application/vnd.oci.image.layer.v1.tar+gzip",
            diff_id: Digest::of(&tar(file)),
            named_layer: None,
            left_out: false,
        }
    }

    fn archive(&self) -> Vec<u8> {
        let config = config(self.diff_id);
        let digest = self.named_layer.unwrap_or_else(|| Digest::of(&self.layer));
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"{}","digest":"{digest}","size":{}}}]}}"#,
            Digest::of(config.as_bytes()),
            config.len(),
            self.layer_type,
            self.layer.len()
        );
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"app:1"}}}}]}}"#,
            Digest::of(manifest.as_bytes()),
            manifest.len()
        );
        let blob = |digest: Digest| format!("blobs/sha256/{}", digest.hex());
        let names = [blob(Digest::of(config.as_bytes())), blob(Digest::of(manifest.as_bytes()))];
        let layer = blob(digest);
        let mut files: Vec<(&str, &[u8])> = vec![
            ("oci-layout", LAYOUT.as_bytes()),
            ("index.json", index.as_bytes()),
            (&names[0], config.as_bytes()),
            (&names[1], manifest.as_bytes()),
        ];
        if !self.left_out {
            files.push((&layer, &self.layer));
        }
        archive(&files)
    }
}

fn message(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", message(source)),
        None => error.to_string(),
    }
}

#[test]
fn an_imported_image_resolves_by_name_id_and_digest() {
    let fixture = Fixture::new();
    let digest = fixture.import("debian:12", "file");
    let image = fixture.store.resolve("debian:12", &[Platform::linux()]).unwrap();
    assert_eq!(image.digest, digest);
    let names = [
        "docker.io/library/debian:12".to_owned(),
        format!("debian@{digest}"),
        digest.to_string(),
        image.config_digest.to_string(),
        image.config_digest.short(),
        image.config_digest.hex(),
    ];
    for name in names {
        assert_eq!(fixture.store.resolve(&name, &[]).unwrap().digest, digest, "{name}");
    }
    assert_eq!(fixture.store.image(&digest).unwrap(), image);
    assert!(matches!(fixture.store.resolve("debian", &[]), Err(Error::NoSuchImage(_))));
    assert!(matches!(fixture.store.resolve("0123456789ab", &[]), Err(Error::NoSuchImage(_))));
    assert!(matches!(fixture.store.resolve("Not valid", &[]), Err(Error::Reference(_))));
}

#[test]
fn the_wrong_platform_is_answered_with_those_there_are() {
    let fixture = Fixture::new();
    fixture.import_for("app", "file", "linux/arm64/v8".parse().unwrap());
    let error = fixture.store.resolve("app", &["wasi/wasm".parse().unwrap()]).unwrap_err();
    assert_eq!(error.to_string(), "image app has no wasi/wasm; it has linux/arm64/v8");
}

#[test]
fn a_snapshot_has_the_layers_and_an_empty_upper() {
    let fixture = Fixture::new();
    fixture.import("app", "file");
    let image = fixture.store.resolve("app", &[]).unwrap();
    let dir = fixture.dir.path().join("container");
    fs::create_dir(&dir).unwrap();
    let snapshot = fixture.store.snapshot(&image, &dir).unwrap();
    assert_eq!(snapshot.lowers[0].diff_id, Digest::of(&tar("file")));
    assert_eq!(fs::read(snapshot.lowers[0].path.join("file")).unwrap(), b"file");
    assert_eq!(fs::read_dir(&snapshot.upper).unwrap().count(), 0);
}

#[test]
fn an_index_gives_each_platform_its_image_and_shares_layers() {
    let fixture = Fixture::new();
    fixture.import_for("a", "same", "linux/amd64".parse().unwrap());
    fixture.import_for("b", "same", "wasi/wasm".parse().unwrap());
    let name: Reference = "both:1".parse().unwrap();
    fixture.store.index(&name, &["a", "b"]).unwrap();
    assert_eq!(fixture.counts(), (6, 1, 0));
    for platform in ["linux/amd64", "wasi/wasm"] {
        let wanted: Platform = platform.parse().unwrap();
        let image = fixture.store.resolve("both:1", std::slice::from_ref(&wanted)).unwrap();
        assert_eq!(image.platform, wanted);
    }
    let twice = fixture.store.index(&name, &["a", "both:1"]).unwrap_err();
    assert!(twice.to_string().contains("two of its images are for linux/amd64"), "{twice}");
    let listed = fixture.store.images().unwrap();
    let both = listed.iter().find(|image| image.names.contains(&name)).unwrap();
    assert_eq!((both.platforms.len(), both.id), (2, both.digest));
    // The members stay whole when their own names go.
    fixture.store.remove("a", false, NOBODY).unwrap();
    fixture.store.remove("b", false, NOBODY).unwrap();
    assert!(fixture.store.check(false).unwrap().problems.is_empty());
    fixture.store.remove("both:1", false, NOBODY).unwrap();
    assert_eq!(fixture.counts(), (0, 0, 0));
}

#[test]
fn removing_the_last_name_removes_all_that_nothing_else_needs() {
    let fixture = Fixture::new();
    let first = fixture.import("one", "first");
    fixture.import("two", "second");
    fixture.store.tag("one", &"other".parse().unwrap()).unwrap();
    let removed = fixture.store.remove("one", false, NOBODY).unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted.len()), (1, 0));
    let removed = fixture.store.remove("other", false, NOBODY).unwrap();
    assert_eq!(removed.deleted, [first]);
    assert_eq!(fixture.counts(), (3, 1, 0));
    assert!(fixture.store.resolve("two", &[]).is_ok());
}

#[test]
fn an_image_in_use_or_with_several_names_is_removed_by_force_only() {
    let fixture = Fixture::new();
    let digest = fixture.import("one", "file");
    let used = &|candidate: &Digest| *candidate == digest;
    let error = fixture.store.remove("one", false, used).unwrap_err();
    assert_eq!(error.to_string(), "image one is in use: a container uses it");
    fixture.store.tag("one", &"two".parse().unwrap()).unwrap();
    let error = fixture.store.remove(&digest.to_string(), false, NOBODY).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    let removed = fixture.store.remove(&digest.to_string(), true, used).unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted.len()), (2, 0));
    assert!(fixture.store.image(&digest).is_ok());
    assert_eq!(fixture.store.prune(false, used).unwrap().deleted, []);
    assert_eq!(fixture.store.prune(false, NOBODY).unwrap().deleted, [digest]);
    assert_eq!(fixture.counts(), (0, 0, 0));
}

#[test]
fn a_name_moves_to_the_newer_image_and_the_older_stays_without() {
    let fixture = Fixture::new();
    fixture.import("app", "old");
    let new = fixture.import("app", "new");
    assert_eq!(fixture.store.resolve("app", &[]).unwrap().digest, new);
    let images = fixture.store.images().unwrap();
    assert_eq!(images.iter().filter(|image| image.names.is_empty()).count(), 1);
    assert!(fixture.store.usage().unwrap().blobs.reclaimable > 0);
}

#[test]
fn a_docker_archive_loads_with_all_its_names() {
    for layer in [tar("file"), gzip(&tar("file"))] {
        let fixture = Fixture::new();
        let whole = docker_archive(&layer, Digest::of(&tar("file")));
        for input in [gzip(&whole), whole] {
            let loaded = fixture.load(&input).unwrap();
            let names: Vec<_> =
                loaded.iter().map(|image| image.name.as_ref().unwrap().familiar()).collect();
            assert_eq!(names, ["app:1", "app:2"]);
            assert_eq!(fixture.counts(), (3, 1, 0));
        }
    }
}

#[test]
fn an_oci_archive_loads_from_a_file_a_stream_and_a_directory() {
    let fixture = Fixture::new();
    let whole = Oci::new("file").archive();
    let loaded = fixture.load(&whole).unwrap();
    assert_eq!(loaded[0].name.as_ref().unwrap().familiar(), "app:1");
    let stream = fixture.store.load(Source::Reader(&mut &*gzip(&whole)), &mut |_| ()).unwrap();
    assert_eq!(stream, loaded);
    let layout = fixture.dir.path().join("layout");
    tar::Archive::new(&*whole).unpack(&layout).unwrap();
    let known = Cell::new(false);
    let mut progress = |event| {
        known.set(known.get() || matches!(event, Progress::Finished { known: true, .. }));
    };
    let directory = fixture.store.load(Source::Path(&layout), &mut progress).unwrap();
    assert_eq!(directory, loaded);
    assert!(known.get());
    assert_eq!(fixture.counts(), (3, 1, 0));
}

#[test]
fn a_store_loads_from_another_store() {
    let (from, to) = (Fixture::new(), Fixture::new());
    let digest = from.import("app:1", "file");
    let loaded = to.store.load(Source::Path(from.store.root()), &mut |_| ()).unwrap();
    assert_eq!(loaded[0].digest, digest);
    assert_eq!(to.store.resolve("app:1", &[]).unwrap(), from.store.image(&digest).unwrap());
}

#[test]
fn bad_input_is_named_and_leaves_nothing_behind() {
    let whole = Oci::new("file").archive();
    let mut wrong_digest = Oci::new("file");
    wrong_digest.named_layer = Some(Digest::of(b"another"));
    let mut wrong_diff_id = Oci::new("file");
    wrong_diff_id.diff_id = Digest::of(b"another");
    let mut unknown = Oci::new("file");
    unknown.layer_type = "application/x-unknown";
    let mut program = Oci::new("file");
    program.layer_type = "application/wasm";
    let mut missing = Oci::new("file");
    missing.left_out = true;
    let cut_layer = docker_archive(&tar("file")[..514], Digest::of(&tar("file")));
    let cases: [(Vec<u8>, &str); 12] = [
        (Vec::new(), "is not an image: it is empty"),
        (b"#!/bin/sh\n".repeat(100), "is not an image: it is no tar archive"),
        (tar("file"), "is not an image: the archive holds neither index.json nor manifest.json"),
        (whole[..whole.len() - 1600].to_vec(), "is truncated"),
        (gzip(&whole)[..600].to_vec(), "is truncated"),
        (cut_layer, "layer two/layer.tar is truncated"),
        (wrong_digest.archive(), "does not match its digest: expected sha256:"),
        (wrong_diff_id.archive(), "the uncompressed layer sha256:"),
        (unknown.archive(), "has the unknown media type `application/x-unknown`"),
        (program.archive(), "it is no WebAssembly program, as its media type says"),
        (missing.archive(), "which is missing"),
        (b"\xfd7zXZ\0\0\0".to_vec(), "is compressed with xz, which is not supported"),
    ];
    for (input, expected) in cases {
        let fixture = Fixture::new();
        let error = message(&fixture.load(&input).unwrap_err());
        assert!(error.contains(expected), "{error} lacks {expected}");
        assert_eq!(fixture.store.images().unwrap(), []);
        assert_eq!(fixture.counts(), (0, 0, 0), "{error}");
    }
}

#[test]
fn an_import_without_the_archives_end_is_truncated() {
    let fixture = Fixture::new();
    let whole = tar("file");
    for length in [whole.len() - 1024, 700, 100] {
        let result = fixture.store.import(&whole[..length], &ImportOptions::default(), &mut |_| ());
        assert!(matches!(result, Err(Error::Truncated { .. })), "{length}: {result:?}");
    }
    assert_eq!(fixture.counts(), (0, 0, 0));
}

#[test]
fn images_added_at_once_are_all_there() {
    let fixture = Fixture::new();
    let input = Oci::new("file").archive();
    thread::scope(|scope| {
        for number in 0..8 {
            let (store, input) = (&fixture.store, &input);
            scope.spawn(move || {
                store.load(Source::Reader(&mut &**input), &mut |_| ()).unwrap();
                store.tag("app:1", &format!("app:t{number}").parse().unwrap()).unwrap();
            });
            scope.spawn(move || Store::open(store.root()).unwrap().images().unwrap());
        }
    });
    assert_eq!(fixture.store.images().unwrap()[0].names.len(), 9);
    assert_eq!(fixture.counts(), (3, 1, 0));
}

#[test]
fn a_removal_waits_for_a_pin() {
    let fixture = Fixture::new();
    fixture.import("app", "file");
    let pin = fixture.store.pin().unwrap();
    thread::scope(|scope| {
        let removal = scope.spawn(|| fixture.store.remove("app", false, NOBODY).unwrap());
        thread::sleep(std::time::Duration::from_millis(50));
        assert!(!removal.is_finished());
        assert!(fixture.store.resolve("app", &[]).is_ok());
        drop(pin);
    });
    assert!(fixture.store.resolve("app", &[]).is_err());
}

#[test]
fn abandoned_work_is_removed_and_held_work_is_not() {
    let fixture = Fixture::new();
    let held = Work::new(&fixture.store).unwrap();
    let tmp = fixture.store.root.join("tmp");
    fs::create_dir_all(tmp.join("work-dead/tree")).unwrap();
    fs::write(tmp.join("work-dead.lock"), "").unwrap();
    fs::create_dir(tmp.join("work-stray")).unwrap();
    let store = Store::open(fixture.store.root()).unwrap();
    assert!(held.path("").exists());
    drop(held);
    assert_eq!(fs::read_dir(store.root.join("tmp")).unwrap().count(), 1);
}

#[test]
fn a_check_finds_and_repairs_damage() {
    let fixture = Fixture::new();
    let digest = fixture.import("app", "file");
    let store = &fixture.store;
    let image: Image = store.image(&digest).unwrap();
    let whole = store.check(false).unwrap();
    assert!(whole.is_whole() && whole.problems.is_empty());
    assert_eq!((whole.images, whole.blobs), (1, 3));

    fs::write(store.blob_path(Digest::of(b"stray")), "stray").unwrap();
    files::remove_tree(&store.layer_path(image.diff_ids[0])).unwrap();
    let found = store.check(false).unwrap();
    assert_eq!((found.problems.len(), found.unreferenced, found.is_whole()), (1, 1, false));
    assert!(store.check(true).unwrap().is_whole());
    assert_eq!(fixture.counts(), (3, 1, 0));

    fs::write(store.blob_path(image.diff_ids[0]), "damaged").unwrap();
    assert!(!store.check(true).unwrap().is_whole());
    let again = ImportOptions { name: Some("app".parse().unwrap()), ..ImportOptions::default() };
    store.import(&*tar("file"), &again, &mut |_| ()).unwrap();
    assert!(store.check(false).unwrap().is_whole());
}

#[test]
fn a_directory_with_other_files_is_no_store() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "").unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::NotAStore { .. })));
    fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"9"}"#).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::NotAStore { .. })));
}

#[test]
fn a_damaged_index_is_an_error_and_not_an_empty_store() {
    let fixture = Fixture::new();
    fs::write(fixture.store.root.join("index.json"), "{").unwrap();
    assert!(matches!(fixture.store.images(), Err(Error::Malformed { .. })));
    assert!(fixture.store.remove("app", true, NOBODY).is_err());
}

#[test]
fn layers_of_an_image_are_listed_once_from_the_top() {
    let fixture = Fixture::new();
    let (one, two) = (tar("one"), tar("two"));
    let ids = [Digest::of(&one), Digest::of(&two), Digest::of(&one)];
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{}","{}","{}"]}}}}"#,
        ids[0], ids[1], ids[2]
    );
    let manifest = br#"[{"Config":"c","RepoTags":["app"],"Layers":["1.tar","2.tar","1.tar"]}]"#;
    let files: [(&str, &[u8]); 4] =
        [("c", config.as_bytes()), ("1.tar", &one), ("2.tar", &two), ("manifest.json", manifest)];
    fixture.load(&archive(&files)).unwrap();
    let dir = fixture.dir.path().join("container");
    fs::create_dir(&dir).unwrap();
    let image = fixture.store.resolve("app", &[]).unwrap();
    let lowers = fixture.store.snapshot(&image, &dir).unwrap().lowers;
    let found: Vec<Digest> = lowers.iter().map(|lower| lower.diff_id).collect();
    assert_eq!(found, [ids[0], ids[1]]);
    assert_eq!(found.iter().collect::<HashSet<_>>().len(), 2);
}

#[test]
fn layers_below_an_opaque_root_are_left_out() {
    let fixture = Fixture::new();
    let (below, above) = (tar("below"), archive(&[(".wh..wh..opq", b""), ("above", b"")]));
    let (below_id, above_id) = (Digest::of(&below), Digest::of(&above));
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{below_id}","{above_id}"]}}}}"#
    );
    let manifest = br#"[{"Config":"c","RepoTags":["app"],"Layers":["1.tar","2.tar"]}]"#;
    let files: [(&str, &[u8]); 4] = [
        ("c", config.as_bytes()),
        ("1.tar", &below),
        ("2.tar", &above),
        ("manifest.json", manifest),
    ];
    fixture.load(&archive(&files)).unwrap();
    let image = fixture.store.resolve("app", &[]).unwrap();
    let found = |dir: &str| -> Vec<Digest> {
        let dir = fixture.dir.path().join(dir);
        fs::create_dir(&dir).unwrap();
        let lowers = fixture.store.snapshot(&image, &dir).unwrap().lowers;
        lowers.iter().map(|lower| lower.diff_id).collect()
    };
    assert_eq!(found("one"), [above_id]);
    // Also when it was lost and is unpacked again.
    files::remove_tree(&fixture.store.layer_path(above_id)).unwrap();
    assert_eq!(found("two"), [above_id]);
}

#[test]
fn an_exact_platform_comes_before_one_that_will_do() {
    let fixture = Fixture::new();
    for (name, platform) in [("a", "wasip2/wasm"), ("b", "wasip1/wasm"), ("c", "wasi/wasm")] {
        fixture.import_for(name, name, platform.parse().unwrap());
    }
    let found = |members: &[&str], wanted: &str| {
        fixture.store.index(&"all".parse().unwrap(), members).unwrap();
        let image = fixture.store.resolve("all", &[wanted.parse().unwrap()]);
        image.map(|image| image.platform.to_string()).map_err(|error| error.to_string())
    };
    for wanted in ["wasi/wasm", "wasip1/wasm", "wasip2/wasm"] {
        assert_eq!(found(&["a", "b", "c"], wanted).unwrap(), wanted);
    }
    assert_eq!(found(&["b"], "wasi/wasm").unwrap(), "wasip1/wasm");
    let error = found(&["b"], "wasip2/wasm").unwrap_err();
    assert_eq!(error, "image all has no wasip2/wasm; it has wasip1/wasm");
}
