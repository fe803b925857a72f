//! `examples/webapp`: a change of the source costs a layer of its size.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use crate::support::{
    Silo, data,
    host::{needs_root, text},
};

fn layers(silo: &Silo) -> BTreeSet<String> {
    crate::support::visible_entries(&silo.root().join("layers")).into_iter().collect()
}

#[test]
fn a_new_source_stores_and_loads_only_its_own_layer() {
    let Some(folder) = data("webapp") else { return };
    if !needs_root() {
        return;
    }
    let silo = Silo::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/webapp/build.sh");
    let built = Command::new("bash")
        .arg(script)
        .arg(&folder)
        .env("SILO", silo.program())
        .env("SILO_ROOT", silo.root())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let tree = String::from_utf8(built.stdout).unwrap();
    assert!(tree.contains("├─") && tree.contains("└─"), "{tree}");
    assert_eq!(layers(&silo).len(), 4, "base, server, source and source of version 2");

    let other = Silo::new();
    let archive = silo.home().join("webapp.tar");
    let send = |image: &str| {
        silo.ok(&["save", "-o", text(&archive), image]);
        let before = layers(&other);
        other.ok(&["load", "-q", "-i", text(&archive)]);
        layers(&other).difference(&before).cloned().collect::<Vec<_>>()
    };
    assert_eq!(send("webapp:1").len(), 3);
    let new = send("webapp:2");
    let [layer] = new.as_slice() else { panic!("more than one layer is new: {new:?}") };
    let page = other.root().join("layers").join(layer).join("var/www/html/index.html");
    assert!(fs::read_to_string(page).unwrap().contains("version 2"));
    let size = "{{range .History}}{{.created_by}}{{end}}";
    assert!(!other.inspect("webapp:2", size).is_empty());
    let version = other.ok(&["run", "--rm", "webapp:2", "nginx", "-v"]);
    assert_eq!(version, "", "nginx tells its version on stderr");
}
