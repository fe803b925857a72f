//! WebAssembly artifacts, whose layer is the program itself, and images for every name that the
//! platform has.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    Layout, Silo, guests,
    layout::{File, digest},
};

/// A config's media type and content, and the layer's media type.
fn forms(program: &[u8]) -> [(&'static str, Value, &'static str); 3] {
    let cncf = json!({
        "created": "2026-01-02T03:04:05Z", "author": "someone", "architecture": "wasm",
        "os": "wasip1", "layerDigests": [digest(program)], "component": null,
    });
    [
        ("application/vnd.wasm.config.v0+json", cncf, "application/wasm"),
        (
            "application/vnd.wasm.config.v1+json",
            json!({}),
            "application/vnd.wasm.content.layer.v1+wasm",
        ),
        (
            "application/vnd.bytecodealliance.wasm.component.config.v0+json",
            json!({}),
            "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
        ),
    ]
}

#[test]
fn artifacts_of_every_form_run_and_stay_as_they_are() {
    for (index, (config_type, config, layer_type)) in forms(&program()).into_iter().enumerate() {
        let mut layout = Layout::new();
        let config = layout.blob(config_type, config.to_string().as_bytes());
        let layer = layout.blob(layer_type, &program());
        let manifest = layout.manifest(&config, &[&layer]);
        layout.name("artifact", manifest.clone());
        let silo = Silo::new();
        layout.load(&silo);
        assert_eq!(silo.ok(&["run", "--rm", "artifact"]), "said");
        assert_eq!(silo.ok(&["run", "--rm", "--platform", "wasi/wasm", "artifact"]), "said");
        for blob in [&config, &layer, &manifest] {
            let name = blob["digest"].as_str().unwrap().replace(':', "/");
            let kept = fs::read(silo.root().join("blobs").join(name)).unwrap();
            assert_eq!(kept, fs::read(layout.blob_path(blob)).unwrap());
        }
        // The tree is made again from the blob.
        fs::remove_dir_all(silo.root().join("layers")).unwrap();
        fs::create_dir(silo.root().join("layers")).unwrap();
        assert_eq!(silo.ok(&["run", "--rm", "artifact"]), "said");
        silo.ok(&["system", "check"]);
        let images = silo.ok(&["system", "df", "--format", "{{.Type}} {{.TotalCount}}"]);
        assert!(images.contains("Images 1"), "{images}");
        let os = silo.inspect("artifact", "{{.Os}}/{{.Architecture}}");
        assert_eq!(os, if index == 0 { "wasip1/wasm" } else { "wasi/wasm" });
        silo.ok(&["rmi", "artifact"]);
        silo.assert_nothing_left(&[]);
    }
}

fn program() -> Vec<u8> {
    guests::module("(call $say)")
}

#[test]
fn images_run_under_every_name_of_the_platform() {
    for platform in ["wasi/wasm", "wasi/wasm32", "wasip1/wasm", "wasip2/wasm"] {
        let mut layout = Layout::new();
        let layers = [layout.layer(&[File::program("app.wasm", &program())])];
        let image = layout.image(platform, &layers, &json!({ "Entrypoint": ["/app.wasm"] }));
        let index = layout.index(&[image]);
        let silo = Silo::new();
        layout.name("app", index).load(&silo);
        assert_eq!(silo.ok(&["run", "--rm", "app"]), "said", "{platform}");
        for wanted in ["wasi/wasm", platform] {
            let args = ["run", "--rm", "--platform", wanted, "app"];
            assert_eq!(silo.ok(&args), "said", "{platform} as {wanted}");
        }
        let other = if platform == "wasip1/wasm" { "wasip2/wasm" } else { "wasip1/wasm" };
        let message = silo.fails(125, &["run", "--rm", "--platform", other, "app"]);
        assert!(message.contains(&format!("has no {other}; it has {platform}")), "{message}");
    }
}
