//! What is done to a store while it is disturbed, and what must hold afterwards.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use crate::support::{
    Ended, Layout, Silo, data, guests,
    host::{self, text},
    layout::File,
    visible_entries, wait_until,
};

/// One command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) args: &'static [&'static str],
    /// What the command works on.
    pub(super) on: On,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// No store at all: it makes one.
    Nothing,
    /// The store of [`Prepared`].
    Store,
    /// The same, and Linux programs can be run in it.
    Linux,
}

const fn on(on: On, args: &'static [&'static str]) -> Operation {
    Operation { args, on }
}

/// Every verb that changes a store. A new one needs a row here and nothing else.
pub(super) const OPERATIONS: &[Operation] = &[
    on(On::Nothing, &["images", "-q"]),
    on(On::Store, &["load", "-q", "-i", "more"]),
    on(On::Store, &["load", "-q", "-i", "more.tar.gz"]),
    on(On::Store, &["import", "root.tar", "imported"]),
    on(On::Store, &["tag", "guest", "again"]),
    on(On::Store, &["tag", "spare", "guest"]),
    on(On::Store, &["manifest", "create", "both", "guest"]),
    on(On::Store, &["commit", "old", "committed"]),
    on(On::Store, &["image", "squash", "guest", "squashed"]),
    on(On::Store, &["rmi", "alias"]),
    on(On::Store, &["rmi", "spare"]),
    on(On::Store, &["rmi", "-f", "guest"]),
    on(On::Store, &["create", "--name", "new", "guest"]),
    on(On::Store, &["create", "--rm", "--name", "new", "guest"]),
    on(On::Store, &["rename", "old", "renamed"]),
    on(On::Store, &["rm", "old"]),
    on(On::Store, &["update", "--pids-limit", "100", "old"]),
    on(On::Store, &["start", "-a", "old"]),
    on(On::Store, &["run", "--rm", "--name", "new", "guest"]),
    on(On::Store, &["run", "--name", "new", "guest"]),
    on(On::Linux, &["run", "--rm", "--name", "new", "linux"]),
    on(On::Linux, &["run", "--name", "new", "linux"]),
    on(On::Store, &["container", "prune", "-f"]),
    on(On::Store, &["image", "prune", "-a", "-f"]),
    on(On::Store, &["system", "prune", "-a", "-f"]),
    on(On::Store, &["system", "check", "--repair"]),
];

/// What a user sees of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Name and id of each image, and of those that were made here the name.
    pub(super) images: BTreeSet<String>,
    /// Name and state of each container.
    pub(super) containers: BTreeSet<String>,
}

impl View {
    pub(super) fn of(silo: &Silo) -> Self {
        let images = silo.ok(&["images", "--no-trunc", "--format", "{{.Repository}} {{.ID}}"]);
        let containers = silo.ok(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
        // An image that is made is another one each time: its config says when it was made.
        let known = |line: &str| match line.split_once(' ') {
            Some((made @ ("imported" | "committed" | "squashed"), _)) => made.to_owned(),
            _ => line.to_owned(),
        };
        Self {
            images: images.lines().map(known).collect(),
            containers: containers.lines().map(str::to_owned).collect(),
        }
    }

    fn container_names(&self) -> BTreeSet<&str> {
        self.containers.iter().filter_map(|line| line.split(' ').next()).collect()
    }

    /// Whether a store that shows this is one on the way from `before` to `after`: its images are
    /// the ones or the others, and so are its containers, whose states are in between.
    pub(super) fn is_between(&self, before: &Self, after: &Self) -> bool {
        let images = self.images == before.images || self.images == after.images;
        let (old, new) = (before.container_names(), after.container_names());
        let names = self.container_names();
        // Some commands' container comes and goes.
        let expected = |name: &&str| old.contains(name) || new.contains(name) || *name == "new";
        images
            && names.iter().all(expected)
            && names.len() >= old.len().min(new.len())
            && old.intersection(&new).all(|one| names.contains(one))
    }
}

/// A store to work on, which can be had again as it was.
pub(super) struct Prepared {
    pub(super) silo: Silo,
    base: PathBuf,
    pub(super) linux: bool,
}

impl Prepared {
    /// Images `guest`, also `alias`, and `spare`, of which each has a layer of its own; a container
    /// `old` of `guest`; and where root runs the tests, `linux`.
    pub(super) fn new() -> Self {
        let silo = Silo::new();
        let program = guests::module("(call $say)");
        let program = File::program("guest.wasm", &program);
        write_layout(&silo.home().join("base"), "guest", &[&[program], &[File::new("a/b", b"b")]]);
        silo.ok(&["load", "-q", "-i", "base"]);
        fs::remove_dir_all(silo.home().join("base")).unwrap();
        silo.ok(&["tag", "guest", "alias"]);
        write_layout(&silo.home().join("base"), "spare", &[&[File::new("spare", b"s")]]);
        silo.ok(&["load", "-q", "-i", "base"]);
        fs::remove_dir_all(silo.home().join("base")).unwrap();
        let mine = vec![File::new("deep/er/1", b"1"), File::program("deep/2", b"2")];
        write_layout(&silo.home().join("more"), "more", &[&mine, &[File::new("3", b"3")]]);
        let mut pack = Command::new("tar");
        pack.args(["-C", "more", "-czf", "more.tar.gz", "oci-layout", "index.json", "blobs"]);
        assert!(pack.current_dir(silo.home()).status().expect("tar").success());
        silo.file("root.tar", crate::support::layout::tar(&mine));
        silo.ok(&["create", "--name", "old", "guest"]);
        // What it has changed.
        silo.ok(&["cp", "root.tar", "old:/"]);
        let linux = add_linux(&silo);
        // What is compiled once and kept.
        silo.ok(&["run", "--rm", "guest"]);
        let base = silo.home().join("base");
        let prepared = Self { silo, base, linux };
        copy_tree(&prepared.silo.root(), &prepared.base);
        prepared
    }

    /// The store as it was, or none, as the operation wants it.
    pub(super) fn reset(&self, on: On) {
        self.empty();
        if on != On::Nothing {
            fs::create_dir(self.silo.root()).expect("the store's directory");
            self.fill(on);
        }
    }

    /// Removes the store.
    pub(super) fn empty(&self) {
        let root = self.silo.root();
        if root.exists() {
            fs::remove_dir_all(&root).expect("the store goes");
        }
    }

    /// Copies the store to its place, an empty directory, where the operation wants one.
    pub(super) fn fill(&self, on: On) {
        if on != On::Nothing {
            copy_tree(&self.base.join("."), &self.silo.root());
        }
    }

    /// What the store shows before and after the operation, undisturbed.
    pub(super) fn views(&self, operation: &Operation) -> (View, View) {
        self.reset(operation.on);
        let before = View::of(&self.silo);
        self.reset(operation.on);
        self.silo.ok(operation.args);
        (before, View::of(&self.silo))
    }

    /// What must hold when an operation has ended anyhow: `what` says how.
    #[track_caller]
    pub(super) fn assert_whole(&self, what: &str, ended: &Ended, before: &View, after: &View) {
        let silo = &self.silo;
        wait_until("supervisors to end", || silo.processes().is_empty());
        // One that is being killed is without a command line before it is without its locks.
        wait_until("locks to be free", || locks_are_free(&silo.root()));
        let ids = visible_entries(&silo.root().join("containers"));
        let checked = silo.run(&["system", "check"]);
        assert_eq!(checked.code, 0, "{what}: {ended:#?} {checked:#?}");
        assert_no_leftovers(&silo.root(), what);
        let view = View::of(silo);
        assert!(
            view.is_between(before, after),
            "{what}: {view:#?} is not one of {before:#?} {after:#?}"
        );
        if ended.code == 0 {
            assert_eq!(&view, after, "{what}: it was reported done");
        }
        silo.ok(&["system", "check", "--repair"]);
        let checked = silo.ok(&["system", "check"]);
        assert_eq!(checked.lines().count(), 1, "{what}: {checked}");
        assert_nothing_on_the_host(&silo.root(), &ids, what);
    }
}

fn locks_are_free(root: &Path) -> bool {
    let containers = root.join("containers");
    visible_entries(&containers).iter().all(|id| {
        let lock = fs::File::open(containers.join(id).join("lock"));
        lock.map_or(true, |lock| lock.try_lock().is_ok())
    })
}

/// Nothing unfinished, no name without container, no directory without record, no socket.
#[track_caller]
pub(super) fn assert_no_leftovers(root: &Path, what: &str) {
    let tmp = visible_entries(&root.join("tmp"));
    assert!(tmp.is_empty(), "{what}: tmp holds {tmp:?}");
    let run = visible_entries(&root.join("run"));
    assert!(run.is_empty(), "{what}: run holds {run:?}");
    let containers: BTreeSet<String> =
        visible_entries(&root.join("containers")).into_iter().collect();
    for id in &containers {
        let record = root.join("containers").join(id).join("config.json");
        assert!(record.exists(), "{what}: {id} has no record");
    }
    let names = visible_entries(&root.join("names"));
    let named = names.iter().map(|name| fs::read_to_string(root.join("names").join(name)).unwrap());
    assert_eq!(names.len(), containers.len(), "{what}: names and containers");
    assert_eq!(named.collect::<BTreeSet<_>>(), containers, "{what}: names and containers");
}

#[track_caller]
fn assert_nothing_on_the_host(root: &Path, ids: &[String], what: &str) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = format!("{}/", text(root));
    let mounted: Vec<&str> = mounts.lines().filter(|line| line.contains(&below)).collect();
    assert!(mounted.is_empty(), "{what}: mounts are left: {mounted:#?}");
    if ids.is_empty() {
        return;
    }
    let mut groups = host::control_groups();
    groups.retain(|path| ids.iter().any(|id| text(path).contains(id.as_str())));
    assert!(groups.is_empty(), "{what}: control groups are left: {groups:#?}");
}

/// The image `linux`, which runs nothing but busybox's `true`, where Linux images can be run.
fn add_linux(silo: &Silo) -> bool {
    let Some(archive) = data("busybox/rootfs.tar") else { return false };
    if !host::needs_root() {
        return false;
    }
    let mut unpack = Command::new("tar");
    unpack.args(["-xOf", text(&archive), "./bin/busybox"]);
    let program = unpack.output().expect("tar").stdout;
    let files = [File::program("bin/busybox", &program)];
    let archive = silo.file("linux.tar", crate::support::layout::tar(&files));
    let command = r#"CMD ["/bin/busybox", "true"]"#;
    silo.ok(&["import", "--change", command, text(&archive), "linux"]);
    true
}

/// An image of layers that hold these files, as a layout in the directory `target`.
fn write_layout(target: &Path, name: &str, layers: &[&[File<'_>]]) {
    let mut layout = Layout::new();
    let layers: Vec<_> = layers.iter().map(|files| layout.layer(files)).collect();
    let image = layout.image("wasi/wasm", &layers, &json!({ "Entrypoint": ["/guest.wasm"] }));
    layout.name(name, image);
    copy_tree(layout.path(), target);
}

pub(super) fn copy_tree(from: &Path, to: &Path) {
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(from).arg(to);
    assert!(copy.status().expect("cp").success(), "{} is copied", from.display());
}
