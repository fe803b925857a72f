//! What users see when something is wrong: what, where, and what to do about it.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::json;

use crate::support::{
    Layout, Silo,
    host::{needs_root, text},
    layout::{File, tar},
    transcript::Transcript,
    visible_entries,
};

/// An archive of an image with one layer, and the path of the layer's blob.
fn layout() -> (Layout, std::path::PathBuf) {
    let mut layout = Layout::new();
    let layer =
        layout.layer(&[File::program("bin/program", b"#!/nowhere\n"), File::new("data", b"x")]);
    let blob = layout.blob_path(&layer.descriptor);
    let image = layout.image("linux/amd64", &[layer], &json!({ "Cmd": ["/bin/program"] }));
    layout.name("app", image);
    (layout, blob)
}

fn assert_empty(silo: &Silo) {
    assert_eq!(silo.ok(&["images", "-q"]), "");
    assert_eq!(silo.ok(&["ps", "-aq"]), "");
    assert!(visible_entries(&silo.root().join("tmp")).is_empty());
    assert!(visible_entries(&silo.root().join("layers")).is_empty());
    silo.ok(&["system", "check"]);
}

#[test]
fn names_of_nothing_are_told() {
    let silo = Silo::new();
    Transcript::of(&silo)
        .run(&["run", "--pull", "never", "nothing"])
        .run(&["run", "Not A Name"])
        .run(&["create", "--pull", "never", "nothing"])
        .run(&["start", "nothing"])
        .run(&["logs", "nothing"])
        .run(&["inspect", "nothing"])
        .run(&["rm", "nothing"])
        .run(&["rmi", "nothing"])
        .run(&["tag", "nothing", "something"])
        .run(&["load", "-i", "/nothing"])
        .run(&["import", "/nothing"])
        .assert("names_of_nothing");
    assert_empty(&silo);
}

#[test]
fn mistyped_command_lines_are_told() {
    let silo = Silo::new();
    Transcript::of(&silo)
        .run(&["rnu"])
        .run(&["run"])
        .run(&["run", "--nmae", "x", "hello"])
        .run(&["run", "-p", "80:80", "hello"])
        .run(&["run", "--memory", "12q", "hello"])
        .run(&["run", "--cpus", "-1", "hello"])
        .run(&["run", "-e", "", "hello"])
        .run(&["run", "-v", "relative:/data", "hello"])
        .run(&["run", "-v", "/tmp:relative", "hello"])
        .run(&["run", "--network", "bridge", "hello"])
        .run(&["run", "--platform", "linux", "--backend", "wasi", "hello"])
        .run(&["run", "--backend", "nothing", "hello"])
        .run(&["ps", "--format", "{{.Nothing}}"])
        .run(&["ps", "--format", "{{"])
        .assert("mistyped_command_lines");
    assert_eq!(silo.ok(&["ps", "-aq"]), "");
}

#[test]
fn files_that_are_no_images_are_told_and_leave_nothing() {
    let silo = Silo::new();
    let empty = silo.file("empty.tar", b"");
    let text_file = silo.file("text.tar", b"no image\n".repeat(200));
    let rootfs = silo.file("rootfs.tar", tar(&[File::new("etc/file", b"x")]));
    let whole = tar(&[File::new("etc/file", &[b'x'; 4000])]);
    let cut = silo.file("cut.tar", &whole[..2000]);
    Transcript::of(&silo)
        .run(&["load", "-i", text(&empty)])
        .run(&["load", "-i", text(&text_file)])
        .run(&["load", "-i", text(&rootfs)])
        .run(&["load", "-i", text(silo.home())])
        .run(&["load", "-i", text(&cut)])
        .run(&["import", text(&text_file)])
        .run(&["import", text(&cut), "cut"])
        .run(&["import", text(&rootfs), "Not A Name"])
        .run(&["import", "-c", "RUN true", text(&rootfs), "name"])
        .with_input(&["load"], b"")
        .assert("files_that_are_no_images");
    assert_empty(&silo);
}

#[test]
fn images_that_lie_are_told_and_leave_nothing() {
    let silo = Silo::new();
    let (layout, blob) = layout();
    let content = fs::read(&blob).unwrap();
    let mut other = content.clone();
    other[600] ^= 1;
    let mut transcript = Transcript::of(&silo);
    fs::write(&blob, &other).unwrap();
    transcript.run(&["load", "-i", text(layout.path())]);
    fs::write(&blob, &content[..700]).unwrap();
    transcript.run(&["load", "-i", text(layout.path())]);
    fs::remove_file(&blob).unwrap();
    transcript.run(&["load", "-i", text(layout.path())]);
    let mut unknown = Layout::new();
    let mut layer = unknown.layer(&[File::new("data", b"x")]);
    layer.descriptor["mediaType"] = json!("application/x-unknown");
    let image = unknown.image("linux/amd64", &[layer], &json!({}));
    unknown.name("unknown", image);
    transcript.run(&["load", "-i", text(unknown.path())]);
    let filters = layout_filters(&[&layout, &unknown]);
    filters.bind(|| transcript.assert("images_that_lie"));
    silo.ok(&["system", "check"]);
    assert_eq!(silo.ok(&["images", "-q"]), "");
}

fn layout_filters(layouts: &[&Layout]) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    for layout in layouts {
        settings.add_filter(&text(layout.path()).replace('.', "\\."), "[LAYOUT]");
    }
    settings
}

#[test]
fn programs_that_cannot_run_are_told() {
    let silo = Silo::new();
    layout().0.load(&silo);
    let mut foreign = Layout::new();
    let layer = foreign.layer(&[File::program("bin/program", b"x")]);
    let image = foreign.image("linux/s390x", &[layer], &json!({ "Cmd": ["/bin/program"] }));
    foreign.name("foreign", image).load(&silo);
    Transcript::of(&silo)
        .run(&["run", "app"])
        .run(&["run", "app", "/bin/missing"])
        .run(&["run", "app", "missing"])
        .run(&["run", "app", "/data"])
        .run(&["run", "app", "/bin"])
        .run(&["run", "-u", "nobody", "app"])
        .run(&["run", "foreign"])
        .run(&["run", "--platform", "linux/s390x", "foreign"])
        .run(&["run", "--platform", "wasi/wasm", "app"])
        .run(&["run", "--platform", "wasi/wasm", "-u", "1", "hello"])
        .assert("programs_that_cannot_run");
}

#[test]
fn names_and_images_in_use_are_told() {
    let silo = Silo::new();
    silo.ok(&["create", "--name", "one", "hello"]);
    Transcript::of(&silo)
        .run(&["create", "--name", "one", "hello"])
        .run(&["run", "--name", "one", "hello"])
        .run(&["run", "--name", "not valid", "hello"])
        .run(&["rmi", "hello"])
        .run(&["exec", "one", "true"])
        .run(&["stop", "one"])
        .run(&["kill", "one"])
        .run(&["kill", "-s", "NOTHING", "one"])
        .assert("names_and_images_in_use");
}

#[test]
fn damaged_records_are_told_and_touch_nothing_else() {
    let silo = Silo::new();
    let id = silo.ok(&["create", "--name", "damaged", "hello"]);
    silo.ok(&["create", "--name", "whole", "hello"]);
    let record = silo.root().join("containers").join(&id).join("config.json");
    fs::write(&record, b"{\"half\":").unwrap();
    Transcript::of(&silo)
        .run(&["start", "damaged"])
        .run(&["inspect", "damaged"])
        .run(&["system", "check"])
        .assert("damaged_records");
    silo.ok(&["start", "-a", "whole"]);

    let index = silo.root().join("index.json");
    fs::write(&index, b"[]").unwrap();
    Transcript::of(&silo).run(&["images"]).run(&["run", "hello"]).assert("damaged_index");
    assert_eq!(fs::read(&index).unwrap(), b"[]");
}

#[test]
fn a_store_that_cannot_be_written_is_told() {
    let silo = Silo::unprivileged();
    if !needs_root() {
        return;
    }
    let set_mode = |mode| {
        fs::set_permissions(silo.home(), fs::Permissions::from_mode(mode)).unwrap();
    };
    let mut transcript = Transcript::of(&silo);
    set_mode(0o555);
    transcript.run(&["images"]).run(&["run", "hello"]);
    set_mode(0o755);
    fs::write(silo.root(), "a file").unwrap();
    transcript.run(&["images"]);
    transcript.assert("a_store_that_cannot_be_written");
}
