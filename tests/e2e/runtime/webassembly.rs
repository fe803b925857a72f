//! Bundles whose program is WebAssembly.

use std::fs;

use serde_json::json;

use super::Bundle;
use crate::support::host;

fn bundle(args: &[&str]) -> Option<Bundle> {
    let bundle = Bundle::new("true")?;
    bundle.change(|config| config["process"]["args"] = json!(args));
    Some(bundle)
}

#[test]
fn a_module_runs_in_the_containers_namespaces_with_its_files() {
    let Some(python) = host::data("bin/python.wasm") else { return };
    let script = "import os; print(os.listdir('/proc')[0]); open('/made', 'w').write('x'); \
                  print(sorted(os.listdir('/volume'))); raise SystemExit(4)";
    let Some(bundle) = bundle(&["/python.wasm", "-c", script]) else { return };
    fs::copy(python, bundle.root().join("python.wasm")).unwrap();
    let volume = bundle.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("file"), "").unwrap();
    bundle.change(|config| {
        config["mounts"].as_array_mut().unwrap().push(json!({ "destination": "/volume",
            "type": "bind", "source": volume, "options": ["rbind", "ro"] }));
    });
    let ended = bundle.run(&["run", "c"]);
    // It is the only process that it sees.
    assert_eq!((ended.code, ended.stdout.as_str()), (4, "1\n['file']\n"), "{ended:?}");
    assert_eq!(fs::read_to_string(bundle.root().join("made")).unwrap(), "x");
}

#[test]
fn a_module_waits_to_be_started_and_ends_by_a_signal() {
    let Some(bundle) = bundle(&["/loop.wasm"]) else { return };
    let text = r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#;
    fs::write(bundle.root().join("loop.wasm"), wat::parse_str(text).unwrap()).unwrap();
    bundle.create("c");
    assert_eq!(bundle.state("c")["status"], "created");
    bundle.ok(&["start", "c"]);
    assert_eq!(bundle.state("c")["status"], "running");
    bundle.ok(&["kill", "c", "TERM"]);
    bundle.becomes("c", "stopped");
}

#[test]
fn what_is_demanded_to_be_webassembly_must_be() {
    let Some(bundle) = bundle(&["sh"]) else { return };
    for (key, value) in [("run.oci.handler", "wasm"), ("module.wasm.image/variant", "compat")] {
        bundle.change(|config| config["annotations"] = json!({ key: value }));
        assert!(bundle.refused().contains("annotations"));
    }
    bundle.change(|config| {
        config["annotations"] = json!({ "module.wasm.image/variant": "compat-smart" });
    });
    bundle.says();
    bundle.change(|config| config["process"]["args"] = json!(["/broken.wasm"]));
    fs::write(bundle.root().join("broken.wasm"), b"\0asm\x01\0\0\0\xff").unwrap();
    assert!(bundle.refused().contains("broken.wasm"));
}
