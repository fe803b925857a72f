//! One tag for two platforms: Debian's Python and CPython for WASI, with one layer in common.

use std::fs;

use serde_json::json;

use crate::support::{
    Layout, Silo, data, guests,
    layout::{File, Layer},
};

const SCRIPT: &[u8] = b"import json\nprint(json.dumps(sorted({'answer': 42}.items())))\n";

/// A store with `app`, and the layer that its two images share.
fn silo_with_app() -> Option<(Silo, Layer)> {
    let debian = data("debian/layout")?;
    let mut layout = Layout::new();
    let (program, _) = guests::python(&layout)?;
    let script = layout.layer(&[File::new("app/main.py", SCRIPT)]);
    let mut linux = layout.layers_of(&debian);
    linux.push(script.clone());
    let config = json!({ "Entrypoint": ["python3"], "Cmd": ["/app/main.py"] });
    let linux = layout.image("linux/amd64", &linux, &config);
    let config = json!({ "Entrypoint": ["/usr/bin/python.wasm"], "Cmd": ["/app/main.py"] });
    let wasm = layout.image("wasi/wasm", &[program, script.clone()], &config);
    let index = layout.index(&[linux, wasm]);
    let silo = Silo::new();
    layout.name("app", index).load(&silo);
    Some((silo, script))
}

#[test]
fn one_tag_runs_on_either_platform_with_the_same_answer() {
    let Some((silo, shared)) = silo_with_app() else { return };
    let expected = r#"[["answer", 42]]"#;
    assert_eq!(silo.ok(&["run", "--rm", "app"]), expected);
    assert_eq!(silo.ok(&["run", "--rm", "--platform", "wasi/wasm", "app"]), expected);
    assert_eq!(silo.ok(&["run", "--rm", "--backend", "wasi", "app"]), expected);
    silo.ok(&["create", "--name", "native", "app"]);
    silo.ok(&["create", "--name", "wasm", "--platform", "wasi/wasm", "app"]);
    let layers: Vec<String> = fs::read_dir(silo.root().join("layers"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| shared.diff_id.ends_with(name.as_str()))
        .collect();
    assert_eq!(layers.len(), 1, "the shared layer is unpacked once");
    let blob = shared.descriptor["digest"].as_str().unwrap().replace(':', "/");
    assert!(silo.root().join("blobs").join(blob).is_file());
}

#[test]
fn a_backend_that_cannot_run_an_image_is_refused_with_the_reason() {
    let silo = guests::silo_with_module("(call $say)");
    let message = silo.fails(125, &["run", "--rm", "--backend", "linux", "guest"]);
    assert!(message.contains("linux") && message.contains("wasi/wasm"), "{message}");
    let message = silo.fails(125, &["run", "--rm", "--backend", "nothing", "guest"]);
    assert!(message.contains("nothing"), "{message}");
    let message = silo.fails(125, &["run", "--rm", "--platform", "linux/s390x", "guest"]);
    assert!(message.contains("linux/s390x"), "{message}");
    silo.assert_nothing_left(&[]);
}
