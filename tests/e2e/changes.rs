//! What a container changed: listed, committed, exported and copied, whichever backend made it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
};

use serde_json::json;

use crate::support::{
    Layout, Silo, data, guests, host::text, layout::File, transcript::Transcript, wait_until,
};

/// A store with `native` and `wasm`, which have `/data` in common.
fn silo_with_both() -> Option<Silo> {
    let busybox = data("busybox/layout")?;
    let mut layout = Layout::new();
    let (program, config) = guests::python(&layout)?;
    let shared = layout.layer(&[
        File::new("data/changed", b"old\n"),
        File::new("data/gone", b"gone\n"),
        File::new("data/moved", b"moved\n"),
        File::new("data/dir/inner", b"inner\n"),
    ]);
    let mut native = layout.layers_of(&busybox);
    native.push(shared.clone());
    let native = layout.image("linux/amd64", &native, &json!({ "Cmd": ["sh"] }));
    let wasm = layout.image("wasi/wasm", &[program, shared], &config);
    let silo = Silo::new();
    layout.name("native", native).name("wasm", wasm).load(&silo);
    Some(silo)
}

const SHELL: &str = "cd /data && echo new > changed && rm gone && mv moved renamed && rm -r dir && \
     mkdir dir && echo other > dir/other && ln -s changed link && ln changed same";
const PYTHON: &str = "import os, shutil
os.chdir('/data')
open('changed', 'w').write('new\\n')
os.remove('gone')
os.rename('moved', 'renamed')
shutil.rmtree('dir')
os.mkdir('dir')
open('dir/other', 'w').write('other\\n')
os.symlink('changed', 'link')
os.link('changed', 'same')
";

/// Paths below `path` with what is there.
fn tree(path: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![path.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap().path();
            let name = entry.strip_prefix(path).unwrap().display().to_string();
            let metadata = entry.symlink_metadata().unwrap();
            let content = if metadata.is_dir() {
                pending.push(entry.clone());
                "directory".to_owned()
            } else if metadata.is_symlink() {
                format!("link to {}", fs::read_link(&entry).unwrap().display())
            } else {
                format!("{} {}", metadata.nlink(), fs::read_to_string(&entry).unwrap())
            };
            found.insert(name, content);
        }
    }
    found
}

#[test]
fn both_backends_leave_changes_that_read_the_same() {
    let Some(silo) = silo_with_both() else { return };
    silo.ok(&["run", "--name", "of-native", "native", "sh", "-c", SHELL]);
    silo.ok(&["run", "--name", "of-wasm", "wasm", "-c", PYTHON]);
    let changes = [
        "C /data",
        "C /data/changed",
        "C /data/dir",
        "D /data/dir/inner",
        "A /data/dir/other",
        "D /data/gone",
        "A /data/link",
        "D /data/moved",
        "A /data/renamed",
        "A /data/same",
    ]
    .join("\n");
    let mut seen = Vec::new();
    for name in ["native", "wasm"] {
        let container = format!("of-{name}");
        assert_eq!(silo.ok(&["diff", &container]), changes, "{name}");

        let copied = silo.home().join(format!("{name}-copy"));
        silo.ok(&["cp", &format!("{container}:/data"), text(&copied)]);

        let archive = silo.home().join(format!("{name}.tar"));
        silo.ok(&["export", "-o", text(&archive), &container]);
        let exported = silo.home().join(format!("{name}-export"));
        tar::Archive::new(fs::File::open(&archive).unwrap()).unpack(&exported).unwrap();

        silo.ok(&["commit", &container, &format!("{name}-after")]);
        let after = format!("after-{name}");
        silo.ok(&["create", "--name", &after, &format!("{name}-after"), "x"]);
        assert_eq!(silo.ok(&["diff", &after]), "");
        let committed = silo.home().join(format!("{name}-commit"));
        silo.ok(&["cp", &format!("{after}:/data/."), text(&committed)]);

        let trees = [tree(&copied), tree(&exported.join("data")), tree(&committed)];
        assert_eq!(trees[0], trees[2]);
        // A copy by the union has one file for each name, an archive keeps them together.
        let contents = |tree: &BTreeMap<String, String>| -> Vec<String> {
            tree.values().map(|text| text.trim_start_matches(char::is_numeric).to_owned()).collect()
        };
        assert_eq!(contents(&trees[0]), contents(&trees[1]));
        seen.push(trees);
    }
    assert_eq!(seen[0], seen[1]);
    silo.ok(&["system", "check"]);
}

#[test]
fn a_commit_runs_what_its_container_ran_unless_told_otherwise() {
    let Some(silo) = Silo::with_busybox() else { return };
    let run = [
        "run",
        "--name",
        "c",
        "-e",
        "A=1",
        "-w",
        "/tmp",
        "busybox",
        "sh",
        "-c",
        "echo $A $PWD; echo x > /made",
    ];
    assert_eq!(silo.ok(&run), "1 /tmp");
    silo.ok(&["commit", "c", "same"]);
    assert_eq!(silo.ok(&["run", "--rm", "same"]), "1 /tmp");
    let change = [
        "commit",
        "-c",
        "CMD [\"cat\", \"/made\"]",
        "-c",
        "ENV A=2",
        "-a",
        "Ada",
        "-m",
        "more",
        "c",
        "other:2",
    ];
    let id = silo.ok(&change);
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(silo.ok(&["run", "--rm", "other:2"]), "x");
    assert_eq!(silo.ok(&["run", "--rm", "other:2", "sh", "-c", "echo $A"]), "2");
    assert_eq!(silo.inspect("other:2", "{{.Author}}"), "Ada");
    silo.ok(&["commit", "--exclude", "/made", "c", "without"]);
    silo.fails(1, &["run", "--rm", "without", "cat", "/made"]);
    Transcript::of(&silo)
        .run(&["history", "--format", "{{.CreatedBy}}|{{.Comment}}", "other:2"])
        .run(&["image", "diff", "busybox", "other:2"])
        .run(&["commit", "nothing"])
        .run(&["commit", "c", "Not A Name"])
        .run(&["commit", "-c", "RUN true", "c"])
        .run(&["diff", "nothing"])
        .assert("commits");
}

#[test]
fn a_container_stands_still_while_it_is_committed() {
    let Some(silo) = Silo::with_busybox() else { return };
    // Two files that are equal whenever nobody is between the two writes.
    let script = "n=0; while :; do n=$((n+1)); echo $n > /one; echo $n > /two; done";
    silo.ok(&["run", "-d", "--name", "c", "busybox", "sh", "-c", script]);
    wait_until("the first write", || silo.ok(&["diff", "c"]).contains("A /two"));
    for round in 0..5 {
        let image = format!("round:{round}");
        silo.ok(&["commit", "c", &image]);
        let read = ["run", "--rm", &image, "sh", "-c", "echo \"$(cat /one)|$(cat /two)\""];
        let both = silo.ok(&read);
        let numbers: Vec<u64> = both.split('|').map(|number| number.parse().unwrap_or(0)).collect();
        // A write may be open and empty; what is written in turn is never two steps apart.
        assert!(numbers.contains(&0) || numbers[0] - numbers[1] <= 1, "{both}");
        let before = silo.ok(&["cp", "c:/one", "-"]);
        wait_until("the container to go on", || silo.ok(&["cp", "c:/one", "-"]) != before);
    }
    silo.ok(&["commit", "--pause=false", "c", "unpaused"]);
    silo.ok(&["rm", "-f", "c"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn volumes_become_part_of_an_image_only_when_asked_for() {
    let Some(silo) = Silo::with_busybox() else { return };
    let folder = silo.home().join("shared");
    let volume = format!("{}:/data", text(&folder));
    let script = "echo inside > /data/file; echo x > /x";
    silo.ok(&["run", "--name", "c", "-v", &volume, "busybox", "sh", "-c", script]);
    assert_eq!(silo.ok(&["diff", "c"]), "A /x");
    silo.ok(&["commit", "c", "without"]);
    silo.fails(1, &["run", "--rm", "without", "cat", "/data/file"]);
    silo.ok(&["commit", "--include-volumes", "c", "with"]);
    assert_eq!(silo.ok(&["run", "--rm", "with", "cat", "/data/file"]), "inside");
    let copy = silo.home().join("copy");
    silo.ok(&["cp", "c:/data/file", text(&copy)]);
    assert_eq!(fs::read_to_string(&copy).unwrap(), "inside\n");
}

#[test]
fn copies_go_both_ways_and_never_out_of_the_containers_root() {
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&[
        "create",
        "--name",
        "c",
        "busybox",
        "sh",
        "-c",
        "cat /in/a; readlink /in/link; cat /etc/leaf",
    ]);
    let folder = silo.home().join("in");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a"), "from outside\n").unwrap();
    symlink("a", folder.join("link")).unwrap();
    silo.ok(&["cp", text(&folder), "c:/"]);
    // A link of the guest's leads where the guest sees it lead.
    let links = silo.home().join("links");
    fs::create_dir(&links).unwrap();
    symlink("/etc", links.join("up")).unwrap();
    silo.ok(&["cp", &format!("{}/.", text(&links)), "c:/tmp"]);
    let leaf = silo.file("leaf", "leaf\n");
    silo.ok(&["cp", text(&leaf), "c:/tmp/up/leaf"]);
    assert!(!Path::new("/etc/leaf").exists());
    assert_eq!(silo.ok(&["start", "-a", "c"]), "from outside\na\nleaf");
    let out = silo.home().join("out");
    silo.ok(&["cp", "c:/etc/leaf", text(&out)]);
    assert_eq!(fs::read_to_string(&out).unwrap(), "leaf\n");
    let archive = silo.with_input(
        &["cp", "-", "c:/tmp"],
        &crate::support::layout::tar(&[File::new("b/c", b"d")]),
    );
    assert_eq!(archive.code, 0, "{archive:?}");
    silo.ok(&["run", "-d", "--name", "busy", "busybox", "sleep", "1000"]);
    Transcript::of(&silo)
        .run(&["cp", "c:/tmp/b/c", "./no/such/folder/"])
        .run(&["cp", "c:/nothing", "."])
        .run(&["cp", "nothing:/etc", "."])
        .run(&["cp", "here", "there"])
        .run(&["cp", "c:/a", "c:/b"])
        .run(&["cp", "./nothing", "c:/"])
        .run(&["cp", "/etc/hostname", "busy:/no/such/folder/"])
        .with_input(&["cp", "-", "c:/"], b"no archive")
        .run(&["rm", "-f", "busy"])
        .assert("copies");
    silo.ok(&["system", "check"]);
}

#[test]
fn what_nobody_uses_is_pruned_and_the_rest_stays() {
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&["run", "--name", "ended", "busybox", "sh", "-c", "echo x > /x"]);
    silo.ok(&["commit", "ended", "app"]);
    silo.ok(&["create", "--name", "kept", "app", "true"]);
    silo.ok(&["run", "-d", "--name", "busy", "busybox", "sleep", "1000"]);
    silo.ok(&["tag", "busybox", "app"]);
    silo.fails(1, &["image", "prune"]);
    // `app` lost its name and is in use by `kept`.
    let said = silo.ok(&["image", "prune", "-f"]);
    assert_eq!(said, "Total reclaimed space: 0B");
    let said = silo.ok(&["system", "prune", "-f"]);
    assert!(said.contains("Deleted Containers") && said.contains("Deleted Images"), "{said}");
    assert_eq!(silo.ok(&["ps", "-a", "--format", "{{.Names}}"]), "busy");
    silo.ok(&["image", "prune", "-a", "-f"]);
    let left = silo.ok(&["images", "--format", "{{.Repository}}"]);
    assert!(left.contains("busybox"), "{left}");
    silo.ok(&["rm", "-f", "busy"]);
    silo.ok(&["system", "prune", "-a", "-f"]);
    assert_eq!(silo.ok(&["images", "-q"]), "");
    for folder in ["blobs/sha256", "layers", "containers", "names"] {
        let left = crate::support::visible_entries(&silo.root().join(folder));
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
    silo.assert_nothing_left(&[]);
}

/// A size as `system df` prints it, in bytes.
fn bytes(shown: &str) -> f64 {
    let digits = shown.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &shown[digits.len()..] {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        other => panic!("the unit {other}"),
    };
    digits.parse::<f64>().unwrap() * unit
}

#[test]
fn the_store_takes_what_du_says_it_takes() {
    let Some(archive) = data("debian/docker-archive.tar") else { return };
    let silo = Silo::new();
    silo.ok(&["load", "-q", "-i", text(&archive)]);
    let fill =
        "head -c 3000000 /dev/zero > /zeros; for n in $(seq 500); do echo $n > /tmp/$n; done";
    silo.ok(&["run", "--name", "c", "debian:archive", "sh", "-c", fill]);
    silo.ok(&["commit", "c", "app"]);
    let told: f64 = silo.ok(&["system", "df", "--format", "{{.Size}}"]).lines().map(bytes).sum();
    let du = std::process::Command::new("du").args(["-s", "-B1"]).arg(silo.root()).output();
    let du = String::from_utf8(du.unwrap().stdout).unwrap();
    let du: f64 = du.split('\t').next().unwrap().parse().unwrap();
    assert!((told - du).abs() < du / 100.0, "df tells {told}, du {du}");

    let verbose = silo.ok(&["system", "df", "-v"]);
    let row = |name: &str| verbose.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    let column = |row: &str, back: usize| {
        let words: Vec<&str> = row.split_whitespace().collect();
        bytes(words[words.len() - back])
    };
    let (base, app) = (row("debian"), row("app"));
    // SIZE, SHARED SIZE, UNIQUE SIZE, CONTAINERS
    assert!((column(&base, 3) - column(&app, 3)).abs() < 1e6, "{verbose}");
    assert!(column(&base, 2) < 1e5 && column(&app, 2) > 3e6, "{verbose}");
    assert!(base.ends_with(" 1") && app.ends_with(" 0"), "{verbose}");
}
