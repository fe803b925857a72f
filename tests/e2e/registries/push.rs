//! What goes to a registry, and what does not have to.

use serde_json::{Value, json};

use super::{Proxy, Server, image_of, native, podman, publish, skopeo};
use crate::support::{Layout, Silo, host::text, layout::File};

/// How many blobs were sent.
fn sent(proxy: &Proxy) -> usize {
    proxy
        .asked()
        .iter()
        .filter(|asked| asked.method == "PUT" && asked.path.contains("/uploads/"))
        .count()
}

#[test]
fn what_silo_pushes_skopeo_and_podman_pull_and_podman_runs() {
    let Some(server) = Server::start() else { return };
    let Some(silo) = Silo::with_busybox() else { return };
    let name = server.name("busybox:1");
    silo.ok(&["push", "-q", "busybox", &name]);
    let copy = format!("oci:{}", text(&silo.home().join("copy")));
    skopeo(&["copy", "-q", "--src-tls-verify=false", &server.docker("busybox:1"), &copy]);
    podman(&silo, &["pull", "-q", "--tls-verify=false", &name]);
    let id = podman(&silo, &["image", "inspect", "--format", "{{.Id}}", &name]);
    assert_eq!(silo.inspect("busybox", "{{.Id}}"), format!("sha256:{}", id.trim()));
}

#[test]
fn an_index_goes_with_all_its_platforms_and_one_of_them_alone_when_asked() {
    let Some(server) = Server::start() else { return };
    let silo = Silo::new();
    silo.ok(&["push", "-q", "hello", &server.name("hello:all")]);
    silo.ok(&["push", "-q", "--platform", "wasi/wasm", "hello", &server.name("hello:wasm")]);
    let raw = |tag: &str| -> Value {
        let name = server.docker(&format!("hello:{tag}"));
        let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &name]);
        serde_json::from_str(&raw).unwrap()
    };
    assert_eq!(raw("all")["manifests"].as_array().unwrap().len(), 2);
    assert!(raw("wasm")["layers"].is_array());
    let copy = format!("oci:{}", text(&silo.home().join("copy")));
    skopeo(&["copy", "-q", "--all", "--src-tls-verify=false", &server.docker("hello:all"), &copy]);
}

#[test]
fn an_index_that_is_here_in_part_goes_where_the_rest_is_and_nowhere_else() {
    let (Some(server), Some(other)) = (Server::start(), Server::start()) else { return };
    Silo::new().ok(&["push", "-q", "hello", &server.name("hello:1")]);
    let silo = Silo::new();
    silo.ok(&["pull", "-q", &server.name("hello:1")]);
    silo.ok(&["push", "-q", &server.name("hello:1"), &server.name("hello:2")]);
    let said = silo.fails(1, &["push", "-q", &server.name("hello:1"), &other.name("hello:1")]);
    assert!(said.contains("is here without wasi/wasm"), "{said}");
    silo.ok(&["pull", "-q", "--all-platforms", &server.name("hello:1")]);
    silo.ok(&["push", "-q", &server.name("hello:1"), &other.name("hello:1")]);
}

#[test]
fn what_the_registry_has_is_not_sent() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::watching(server.address());
    let silo = Silo::new();
    image_of("app", &[100_000, 1000]).load(&silo);
    silo.ok(&["push", "-q", "app", &proxy.name("one/app")]);
    assert_eq!(sent(&proxy), 3, "two layers and a config");
    silo.ok(&["push", "-q", "app", &proxy.name("one/app:again")]);
    assert_eq!(sent(&proxy), 0);
    // Another repository takes what the first has, as far as it is known that it does.
    silo.ok(&["tag", "app", &proxy.name("one/app")]);
    silo.ok(&["push", "-q", "app", &proxy.name("two/app")]);
    assert_eq!(sent(&proxy), 1, "the config");
}

#[test]
fn what_was_committed_and_pushed_is_pulled_and_runs_elsewhere() {
    let Some(server) = Server::start() else { return };
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&["run", "--name", "work", "busybox", "sh", "-c", "echo changed >/note"]);
    silo.ok(&["commit", "work", &server.name("changed:1")]);
    silo.ok(&["push", "-q", &server.name("changed:1")]);
    let other = Silo::new();
    assert_eq!(other.ok(&["run", "--rm", &server.name("changed:1"), "cat", "/note"]), "changed");
}

#[test]
fn artifacts_of_webassembly_keep_their_digest() {
    let Some(server) = Server::start() else { return };
    let mut layout = Layout::new();
    let module = layout.blob("application/wasm", b"\0asm\x01\0\0\0");
    let config = layout.blob(
        "application/vnd.wasm.config.v0+json",
        json!({ "created": "2026-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip1",
                "layerDigests": [module["digest"]] })
        .to_string()
        .as_bytes(),
    );
    let manifest = layout.manifest(&config, &[&module]);
    layout.name("artifact", manifest);
    publish(&layout, "artifact", &server.name("artifact"));
    let silo = Silo::new();
    let said = silo.ok(&["pull", &server.name("artifact")]);
    assert!(said.contains(&super::digest_in(&layout)), "{said}");
}

#[test]
fn empty_layers_and_a_layer_twice_are_no_trouble() {
    let Some(server) = Server::start() else { return };
    let mut layout = Layout::new();
    let empty = layout.layer(&[]);
    let file = layout.layer(&[File::new("file", b"x")]);
    let layers = [empty.clone(), file.clone(), empty, file];
    let image = layout.image(&native(), &layers, &json!({}));
    layout.name("app", image);
    publish(&layout, "app", &server.name("app"));
    let silo = Silo::new();
    silo.ok(&["pull", "-q", &server.name("app")]);
    silo.ok(&["system", "check"]);
}
