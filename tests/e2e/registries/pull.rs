//! What comes from a registry, and what does not have to.

use serde_json::json;

use super::{Proxy, Server, digest_in, image_of, native, noise, podman, publish, skopeo};
use crate::support::{Layout, Silo, data, host::text};

/// The methods and paths of requests for blobs.
fn blobs(proxy: &Proxy) -> Vec<String> {
    let asked = proxy.asked();
    let blobs = asked.iter().filter(|asked| asked.method == "GET" && asked.is_blob());
    blobs.map(|asked| asked.path.clone()).collect()
}

#[test]
fn what_skopeo_and_podman_push_is_pulled_as_it_is_and_runs() {
    let Some(server) = Server::start() else { return };
    let Some(layout) = data("busybox/layout") else { return };
    let (zstd, docker) =
        (data("busybox/oci-zstd.tar").unwrap(), data("busybox/docker-save.tar").unwrap());
    let silo = Silo::new();
    let from = [
        ("gzip", format!("oci:{}:latest", text(&layout)), "oci"),
        ("zstd", format!("oci-archive:{}", text(&zstd)), "oci"),
        ("schema2", format!("docker-archive:{}", text(&docker)), "v2s2"),
    ];
    for (tag, source, format) in from {
        let name = server.docker(&format!("busybox:{tag}"));
        skopeo(&["copy", "-q", "--dest-tls-verify=false", "--format", format, &source, &name]);
    }
    podman(&silo, &["load", "-q", "-i", text(&docker)]);
    podman(
        &silo,
        &["push", "-q", "--tls-verify=false", "busybox:archive", &server.name("busybox:podman")],
    );
    for tag in ["gzip", "zstd", "schema2", "podman"] {
        let name = server.name(&format!("busybox:{tag}"));
        let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
        let pulled = silo.ok(&["pull", &name]);
        let digest = crate::support::layout::digest(raw.as_bytes());
        assert!(pulled.contains(&digest), "{pulled} has no {digest}");
        assert_eq!(silo.ok(&["run", "--rm", &name, "echo", tag]), tag);
    }
    silo.ok(&["system", "check"]);
}

#[test]
fn names_are_tags_and_digests() {
    let Some(server) = Server::start() else { return };
    let layout = image_of("app", &[1000]);
    publish(&layout, "app", &server.name("app"));
    let digest = digest_in(&layout);
    let silo = Silo::new();
    let by_digest = server.name(&format!("app@{digest}"));
    silo.ok(&["pull", "-q", &by_digest]);
    assert_eq!(silo.inspect(&by_digest, "{{.Os}}"), "linux");
    let id = silo.ok(&["pull", "-q", &server.name("app")]);
    assert_eq!(silo.inspect(&server.name("app:latest"), "{{.Id}}"), id);
}

#[test]
fn of_an_index_comes_the_platform_that_is_wanted_and_others_when_they_are() {
    let Some(server) = Server::start() else { return };
    let seeder = Silo::new();
    let name = server.name("hello:1");
    seeder.ok(&["push", "-q", "hello", &name]);
    let silo = Silo::new();
    let platforms = || silo.ok(&["images", "--format", "{{.Platforms}}"]);
    silo.ok(&["pull", "-q", &name]);
    assert_eq!(platforms(), native());
    silo.ok(&["pull", "-q", "--platform", "wasi/wasm", &name]);
    assert_eq!(platforms(), format!("{},wasi/wasm", native()));
    assert!(silo.ok(&["run", "--rm", "--platform", "wasi/wasm", &name]).contains("Hello"));

    let other = Silo::new();
    other.ok(&["pull", "-q", "--all-platforms", &name]);
    assert_eq!(other.ok(&["images", "--format", "{{.Platforms}}"]), platforms());
    other.ok(&["system", "check"]);
}

#[test]
fn what_is_here_is_not_fetched() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::watching(server.address());
    let mut layout = Layout::new();
    let base = noise(&layout, "base", 100_000, 1);
    let top = noise(&layout, "top", 1000, 2);
    let below = layout.image(&native(), std::slice::from_ref(&base), &json!({}));
    let above = layout.image(&native(), &[base, top], &json!({}));
    layout.name("below", below.clone()).name("above", above);
    publish(&layout, "above", &server.name("above"));
    publish(&layout, "below", &server.name("below"));

    let silo = Silo::new();
    silo.ok(&["pull", "-q", &proxy.name("below")]);
    assert_eq!(blobs(&proxy).len(), 2, "a config and a layer");
    silo.ok(&["pull", "-q", &proxy.name("above")]);
    assert_eq!(blobs(&proxy).len(), 2, "a config and the layer that is new");
    silo.ok(&["pull", "-q", &proxy.name("above")]);
    assert_eq!(
        proxy.asked().iter().map(|asked| asked.method.as_str()).collect::<Vec<_>>(),
        ["GET", "HEAD"]
    );

    let loaded = Silo::new();
    layout.load(&loaded);
    loaded.ok(&["pull", "-q", &proxy.name("above")]);
    assert_eq!(blobs(&proxy), [""; 0]);
}

#[test]
fn a_name_that_means_another_image_leads_there_after_a_pull() {
    let Some(server) = Server::start() else { return };
    let (first, second) = (image_of("app", &[1000]), image_of("app", &[2000]));
    let (silo, name) = (Silo::new(), server.name("app"));
    for layout in [first, second] {
        publish(&layout, "app", &name);
        let said = silo.ok(&["pull", &name]);
        assert!(said.contains(&digest_in(&layout)), "{said}");
        assert!(said.contains("Downloaded newer image"), "{said}");
        assert!(silo.ok(&["pull", &name]).contains("up to date"));
    }
}
