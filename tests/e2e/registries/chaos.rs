//! A network that does its worst: a hundred rounds, and never a wrong or half image.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{
    Server, digest_in, image_of,
    proxy::{Asked, Fate, Proxy},
    publish, skopeo,
};
use crate::support::{Layout, Silo, visible_entries};

const ROUNDS: usize = 100;
/// Of this many requests one fares badly.
const ONE_IN: u64 = 4;

/// Numbers that are the same in every run (splitmix64).
fn number(seed: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What becomes of a request. What is asked in its head is left alone: no digest guards it.
fn fate(asked: &Asked, seed: u64) -> Fate {
    let (what, place) = (number(seed), number(seed ^ 0xabcd) % 400_000);
    // Most answers are short, and so are most places.
    let place = if what & 64 == 0 { place } else { place % 700 };
    let sends = asked.header("content-length").is_some_and(|length| length != "0");
    match (what >> 8) % ONE_IN {
        0 => match (what >> 16) % 7 {
            0 => Fate::Drop,
            1 => Fate::CutAnswer(place),
            2 => Fate::SpoilAnswer(place),
            3 => Fate::Pause(place, Duration::from_millis(place % 50)),
            4 if sends => Fate::CutRequest(place),
            5 if sends => Fate::SpoilRequest(place),
            _ => Fate::Answer(
                "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                    .to_owned(),
            ),
        },
        _ => Fate::Pass,
    }
}

/// A network before a registry with the image `app`, and that image.
struct Network {
    server: Server,
    proxy: Proxy,
    layout: Layout,
    digest: String,
}

fn network() -> Option<Network> {
    let server = Server::start()?;
    let layout = image_of("app", &[300_000, 1000, 150_000]);
    let digest = digest_in(&layout);
    publish(&layout, "app", &server.name("app"));
    let count = AtomicU64::new(1);
    let proxy = Proxy::start(server.address(), move |asked: &Asked| {
        fate(asked, count.fetch_add(1, Ordering::Relaxed))
    });
    Some(Network { server, proxy, layout, digest })
}

#[test]
fn a_hundred_pulls_by_a_bad_network_bring_no_wrong_or_half_image() {
    let Some(network) = network() else { return };
    let silo = Silo::new();
    silo.ok(&["images"]);
    let succeeded = (0..ROUNDS).filter(|_| pull(&silo, &network)).count();
    // It is a network after all.
    assert!(succeeded > ROUNDS / 2, "{succeeded} of {ROUNDS}");
}

#[test]
fn a_hundred_pushes_by_a_bad_network_name_no_wrong_or_half_image() {
    let Some(network) = network() else { return };
    let silo = Silo::new();
    network.layout.load(&silo);
    let name = |round| format!("app{round}");
    let succeeded = (0..ROUNDS).filter(|round| push(&silo, &network, &name(*round))).count();
    assert!(succeeded > ROUNDS / 2, "{succeeded} of {ROUNDS}");
}

/// Whether a pull succeeded; the store is whole either way.
fn pull(silo: &Silo, network: &Network) -> bool {
    let name = network.proxy.name("app");
    let pull = silo.run(&["pull", &name]);
    assert!(!pull.stderr.contains("panicked"), "{pull:?}");
    if pull.code == 0 {
        assert!(pull.stdout.contains(&network.digest), "{pull:?}");
        silo.ok(&["system", "check"]);
        silo.ok(&["rmi", &name]);
    }
    assert_eq!(silo.ok(&["images", "-q"]), "", "{pull:?}");
    for folder in ["tmp", "layers", "blobs/sha256"] {
        let left = visible_entries(&silo.root().join(folder));
        assert!(left.is_empty(), "{folder} is not empty: {left:?} after {pull:?}");
    }
    pull.code == 0
}

/// Whether a push succeeded; what has the name then is whole, and nothing else ever has it.
fn push(silo: &Silo, network: &Network, name: &str) -> bool {
    let Network { server, proxy, digest, .. } = network;
    let push = silo.run(&["push", "app", &proxy.name(name)]);
    assert!(!push.stderr.contains("panicked"), "{push:?}");
    let pull = Silo::new().run(&["pull", &server.name(name)]);
    if push.code == 0 || pull.code == 0 {
        assert!(pull.stdout.contains(digest), "{push:?} {pull:?}");
        let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &server.docker(name)]);
        assert_eq!(crate::support::layout::digest(raw.as_bytes()), *digest);
    }
    push.code == 0
}
