//! What users see when something is wrong on the way: one clear message, and nothing half.

use std::{fs, time::Duration};

use super::{
    Server, digest_in, image_of,
    proxy::{Asked, Fate, Proxy},
    publish,
    server::Demands,
};
use crate::{
    full_disk,
    support::{
        Silo, ended, filters, host::needs_root, transcript::Transcript, visible_entries, wait_until,
    },
};

/// Snapshots with what differs from run to run replaced.
fn settings(silo: &Silo) -> insta::Settings {
    let mut settings = filters(silo);
    settings.add_filter(r"127\.0\.0\.1:[0-9]{3,}", "[REGISTRY]");
    settings.add_filter(r"uploads/[0-9a-f-]{36}", "uploads/[UPLOAD]");
    // The resolver's words depend on the network.
    settings.add_filter(r"failed to lookup address information: .*", "[RESOLVER]");
    settings
}

#[track_caller]
fn assert_said(transcript: &Transcript<'_>, silo: &Silo, name: &str) {
    settings(silo).bind(|| transcript.assert(name));
}

#[track_caller]
fn assert_nothing_half(silo: &Silo) {
    assert_eq!(silo.ok(&["images", "-q"]), "");
    for folder in ["tmp", "layers", "blobs/sha256"] {
        let left = visible_entries(&silo.root().join(folder));
        assert!(left.is_empty(), "{folder} is not empty: {left:?}");
    }
    silo.ok(&["system", "check"]);
}

#[test]
fn registries_that_are_not_there_are_told() {
    let silo = Silo::new();
    let mut transcript = Transcript::of(&silo);
    transcript
        .run(&["pull", "registry.invalid/app"])
        .run(&["pull", "127.0.0.1:1/app"])
        .run(&["run", "127.0.0.1:1/app"])
        .run(&["create", "127.0.0.1:1/app"])
        .run(&["push", "hello", "127.0.0.1:1/app"])
        .run(&["push", "nothing", "127.0.0.1:1/app"])
        .run(&["login", "-u", "me", "-p", "secret", "127.0.0.1:1"])
        .run(&["login", "127.0.0.1:1"])
        .run(&["logout", "127.0.0.1:1"])
        .run(&["pull", "Not A Name"]);
    assert_said(&transcript, &silo, "registries_that_are_not_there");
}

#[test]
fn images_that_are_not_there_are_told() {
    let Some(server) = Server::start() else { return };
    publish(&image_of("app", &[1000]), "app", &server.name("app:1"));
    Silo::new().ok(&["push", "-q", "hello", &server.name("app:2")]);
    let silo = Silo::new();
    let digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let mut transcript = Transcript::of(&silo);
    transcript
        .run(&["pull", &server.name("app")])
        .run(&["pull", &server.name(&format!("app@{digest}"))])
        .run(&["pull", &server.name("other")])
        .run(&["pull", "--platform", "linux/s390x", &server.name("app:1")])
        .run(&["pull", "--platform", "linux/s390x", &server.name("app:2")]);
    assert_said(&transcript, &silo, "images_that_are_not_there");
    assert_nothing_half(&silo);
}

#[test]
fn doors_that_are_shut_are_told() {
    let demands = Demands { password: true, ..Demands::default() };
    let (Some(locked), Some(tls)) = (
        Server::demanding(demands),
        Server::demanding(Demands { tls: true, ..Demands::default() }),
    ) else {
        return;
    };
    let silo = Silo::new();
    let mut transcript = Transcript::of(&silo);
    transcript
        .run(&["pull", &locked.name("app")])
        .run(&["push", "hello", &locked.name("app")])
        .run(&["login", "-u", "me", "-p", "wrong", locked.address()])
        .run(&["pull", &tls.name("app")]);
    assert_said(&transcript, &silo, "doors_that_are_shut");
}

/// A proxy that does this to every answer that is the layer's blob.
fn spoiling(server: &Server, layer: String, fate: Fate) -> Proxy {
    Proxy::start(server.address(), move |asked: &Asked| {
        if asked.method == "GET" && asked.path.ends_with(&layer) {
            fate.clone()
        } else {
            Fate::Pass
        }
    })
}

/// An image at a registry, with the digest of its layer.
fn published(server: &Server, size: usize) -> String {
    let layout = image_of("app", &[size]);
    publish(&layout, "app", &server.name("app"));
    let manifest = fs::read(layout.blob_path(&serde_json::json!({ "digest": digest_in(&layout) })));
    let manifest: serde_json::Value = serde_json::from_slice(&manifest.unwrap()).unwrap();
    manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn blobs_that_are_damaged_or_gone_are_told() {
    let Some(server) = Server::start() else { return };
    let layer = published(&server, 10_000);
    let silo = Silo::new();
    let failing =
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n";
    let (spoilt, down) = (
        spoiling(&server, layer.clone(), Fate::SpoilAnswer(5000)),
        spoiling(&server, layer.clone(), Fate::Answer(failing.to_owned())),
    );
    let mut transcript = Transcript::of(&silo);
    transcript.run(&["pull", &spoilt.name("app")]).run(&["pull", &down.name("app")]);
    fs::remove_file(server.blob_path(&layer)).unwrap();
    transcript.run(&["pull", &server.name("app")]);
    assert_said(&transcript, &silo, "blobs_that_are_damaged");
    assert_nothing_half(&silo);
}

#[test]
fn after_a_cut_it_goes_on_where_it_was() {
    let Some(server) = Server::start() else { return };
    let layer = published(&server, 1_000_000);
    let proxy = spoiling(&server, layer, Fate::CutAnswer(300_000));
    let silo = Silo::new();
    silo.ok(&["pull", "-q", &proxy.name("app")]);
    let asked = proxy.asked();
    let parts: Vec<_> = asked.iter().filter_map(|asked| asked.header("range")).collect();
    assert!(parts.len() >= 3, "{parts:?}");
    assert!(parts.iter().all(|part| part.starts_with("bytes=")), "{parts:?}");
    silo.ok(&["system", "check"]);
}

#[test]
fn an_upload_goes_on_after_a_cut() {
    let Some(server) = Server::start() else { return };
    let cut = std::sync::atomic::AtomicBool::new(false);
    let proxy = Proxy::start(server.address(), move |asked: &Asked| {
        let large = asked.header("content-length").is_some_and(|length| length.len() > 6);
        if large && !cut.swap(true, std::sync::atomic::Ordering::Relaxed) {
            return Fate::CutRequest(600_000);
        }
        Fate::Pass
    });
    let silo = Silo::new();
    let layout = image_of("app", &[2_000_000]);
    layout.load(&silo);
    silo.ok(&["push", "-q", "app", &proxy.name("app")]);
    let said = Silo::new().ok(&["pull", &server.name("app")]);
    assert!(said.contains(&digest_in(&layout)), "{said}");
}

#[test]
fn who_is_asked_to_wait_waits_and_goes_on() {
    let Some(server) = Server::start() else { return };
    published(&server, 1000);
    let times = std::sync::atomic::AtomicUsize::new(0);
    let proxy = Proxy::start(server.address(), move |_: &Asked| {
        // Every other request, so that none is refused twice.
        match times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2 {
            0 => Fate::Pass,
            _ => Fate::Answer(
                "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
                    .to_owned(),
            ),
        }
    });
    Silo::new().ok(&["pull", "-q", &proxy.name("app")]);
}

#[test]
fn a_full_disk_leaves_nothing_half() {
    let Some(server) = Server::start() else { return };
    if !needs_root() {
        return;
    }
    published(&server, 8_000_000);
    let silo = Silo::new();
    let name = server.name("app");
    let script = format!("silo pull {name}; silo images -q; silo system check");
    let said = full_disk::on_a_disk(&silo, "3m", &script);
    settings(&silo).bind(|| full_disk::assert_said(&silo, "a-full-disk-at-pull", &said));
}

#[test]
fn an_interrupted_pull_says_so_and_leaves_nothing() {
    let Some(server) = Server::start() else { return };
    let layer = published(&server, 3_000_000);
    let proxy = spoiling(&server, layer.clone(), Fate::Pause(1_000_000, Duration::from_mins(2)));
    let silo = Silo::new();
    let name = proxy.name("app");
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let pulling = silo.spawn(&["pull", &name]);
        wait_until("the layer to begin", || {
            proxy.asked().iter().any(|asked| asked.path.ends_with(&layer))
        });
        let pid = pulling.id().to_string();
        crate::support::host::done(std::process::Command::new("kill").args(["-s", signal, &pid]));
        let ended = ended(&pulling.wait_with_output().unwrap());
        assert_eq!(ended.code, code, "{ended:?}");
        assert_eq!(ended.stderr, format!("silo: interrupted by SIG{signal}\n"), "{ended:?}");
        assert_nothing_half(&silo);
    }
}
