//! `examples/webapp`: a change of the source costs a layer of its size, on the disk and on the way.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use crate::{
    builds::{Project, cached},
    registries::Server,
    support::{
        Ended, Silo, data,
        host::{needs_root, text},
    },
};

fn layers(silo: &Silo) -> BTreeSet<String> {
    crate::support::visible_entries(&silo.root().join("layers")).into_iter().collect()
}

fn example() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/webapp"))
}

/// A store in which `build.sh` was run, and the tree that it printed.
fn built() -> Option<(Silo, String)> {
    let folder = data("webapp")?;
    if !needs_root() {
        return None;
    }
    let silo = Silo::new();
    let built = Command::new("bash")
        .arg(example().join("build.sh"))
        .arg(&folder)
        .env("SILO", silo.program())
        .env("SILO_ROOT", silo.root())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some((silo, String::from_utf8(built.stdout).unwrap()))
}

#[test]
fn a_new_source_stores_and_loads_only_its_own_layer() {
    let Some((silo, tree)) = built() else { return };
    assert!(tree.contains("├─") && tree.contains("└─"), "{tree}");
    assert_eq!(layers(&silo).len(), 5, "base, packages, server, source and source of version 2");

    let other = Silo::new();
    let archive = silo.home().join("webapp.tar");
    let send = |image: &str| {
        silo.ok(&["save", "-o", text(&archive), image]);
        let before = layers(&other);
        other.ok(&["load", "-q", "-i", text(&archive)]);
        layers(&other).difference(&before).cloned().collect::<Vec<_>>()
    };
    assert_eq!(send("webapp:1").len(), 4);
    let new = send("webapp:2");
    let [layer] = new.as_slice() else { panic!("more than one layer is new: {new:?}") };
    let page = other.root().join("layers").join(layer).join("var/www/html/index.html");
    assert!(fs::read_to_string(page).unwrap().contains("version 2"));
    let size = "{{range .History}}{{.created_by}}{{end}}";
    assert!(!other.inspect("webapp:2", size).is_empty());
    let version = other.ok(&["run", "--rm", "webapp:2", "nginx", "-v"]);
    assert_eq!(version, "", "nginx tells its version on stderr");
}

/// How many blobs a transfer tells of with these words.
fn told(ended: &Ended, words: &str) -> usize {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended.stderr.lines().filter(|line| line.ends_with(words)).count()
}

#[test]
fn a_new_source_is_pushed_and_pulled_as_one_layer() {
    let Some(server) = Server::start() else { return };
    let Some((silo, _)) = built() else { return };
    let elsewhere = Silo::new();
    let names = |tag: &str| (format!("webapp:{tag}"), server.name(&format!("webapp:{tag}")));
    let (own, remote) = names("1");
    let pushed = silo.run(&["push", &own, &remote]);
    assert_eq!(told(&pushed, ": there already"), 0, "{pushed:#?}");
    let pulled = elsewhere.run(&["pull", &remote]);
    assert_eq!(told(&pulled, ": pulled"), 4, "{pulled:#?}");

    let project = Project::new(&silo, "next", "FROM webapp-server\nCOPY site /var/www/html/\n");
    project.file("site/index.html", "<p>Today.\n");
    let build = project.told(&silo, &["-t", "webapp:3"]);
    assert_eq!(cached(&build), Vec::<String>::new());
    let (own, remote) = names("3");
    let pushed = silo.run(&["push", &own, &remote]);
    // The layer, and the config that lists it.
    assert_eq!(
        (told(&pushed, ": there already"), told(&pushed, ": pushed")),
        (3, 2),
        "{pushed:#?}"
    );
    let pulled = elsewhere.run(&["pull", &remote]);
    assert_eq!((told(&pulled, ": here already"), told(&pulled, ": pulled")), (3, 1), "{pulled:#?}");
    let page = elsewhere.ok(&["run", "--rm", &remote, "cat", "/var/www/html/index.html"]);
    assert_eq!(page, "<p>Today.");
}
