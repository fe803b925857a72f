//! `run` and `create` of what is not here.

use super::{Server, image_of, publish};
use crate::support::{Silo, data, host::text};

#[test]
fn run_fetches_what_is_missing_and_only_that() {
    let Some(server) = Server::start() else { return };
    let Some(archive) = data("busybox/docker-archive.tar") else { return };
    let (name, other) = (server.name("busybox:1"), server.name("busybox:2"));
    let seeder = Silo::new();
    seeder.ok(&["load", "-q", "-i", text(&archive)]);
    seeder.ok(&["push", "-q", "busybox:archive", &name]);

    let silo = Silo::new();
    let said = silo.fails(125, &["run", "--pull", "never", &name]);
    assert!(said.contains("no such image"), "{said}");
    let ran = silo.run(&["run", "--rm", &name, "echo", "here"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "here\n"));
    assert!(ran.stderr.contains("is not here; pulling it"), "{ran:?}");
    let ran = silo.run(&["run", "--rm", &name, "echo", "here"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "here\n", ""));
    silo.ok(&["create", "--name", "made", &name]);
    drop(server);
    silo.ok(&["run", "--rm", &name, "true"]);
    let said = silo.fails(125, &["run", "--rm", &other]);
    assert!(said.contains("cannot connect"), "{said}");
}

#[test]
fn a_platform_that_is_missing_is_fetched_when_it_is_asked_for() {
    let Some(server) = Server::start() else { return };
    let name = server.name("hello:1");
    Silo::new().ok(&["push", "-q", "hello", &name]);
    let silo = Silo::new();
    silo.ok(&["run", "--rm", &name]);
    let wasi = ["run", "--rm", "--platform", "wasi/wasm", &name];
    assert!(
        silo.fails(125, &[&wasi[..2], &["--pull", "never"], &wasi[2..]].concat())
            .contains("has no wasi/wasm")
    );
    assert!(silo.ok(&wasi).contains("wasi/wasm half"));
    let said = silo.fails(125, &["run", "--rm", "--platform", "linux/s390x", &name]);
    assert!(!said.contains("pulling"), "{said}");
}

#[test]
fn always_runs_what_the_name_means_now() {
    let Some(server) = Server::start() else { return };
    let (silo, name) = (Silo::new(), server.name("app"));
    let ids = [image_of("app", &[1000]), image_of("app", &[2000])].map(|layout| {
        publish(&layout, "app", &name);
        silo.ok(&["create", "--pull", "always", &name])
    });
    let images = ids.map(|id| silo.inspect(&id, "{{.Image}}"));
    assert_ne!(images[0], images[1]);
    drop(server);
    let said = silo.fails(1, &["create", "--pull", "always", &name]);
    assert!(said.contains("cannot connect"), "{said}");
    silo.ok(&["create", &name]);
}
