//! `silo run hello`: the image in the program, by either backend.

use crate::support::{Silo, host};

fn assert_hello(silo: &Silo, args: &[&str], backend: &str) {
    let mut all = vec!["run", "--rm"];
    all.extend(args);
    all.push("hello");
    let said = silo.ok(&all);
    assert!(said.to_lowercase().contains(backend), "{said}");
    assert_eq!(silo.ok(&["ps", "-aq"]), "");
}

#[test]
fn hello_runs_by_the_backend_of_its_platform() {
    let silo = Silo::new();
    assert_hello(&silo, &[], "linux");
    assert_hello(&silo, &["--platform", "linux/amd64"], "linux");
    assert_hello(&silo, &["--platform", "wasi/wasm"], "wasi");
    assert_hello(&silo, &["--backend", "wasi"], "wasi");
    silo.assert_nothing_left(&[]);
}

#[test]
fn hello_runs_for_an_unprivileged_user() {
    let silo = Silo::unprivileged();
    assert_hello(&silo, &[], "linux");
    assert_hello(&silo, &["--platform", "wasi/wasm"], "wasi");
    silo.assert_nothing_left(&[]);
}

#[test]
fn hello_tells_what_stands_between_it_and_the_host() {
    let silo = Silo::new();
    let linux = silo.ok(&["run", "--rm", "hello"]);
    for barrier in ["namespace", "seccomp", "capabilit"] {
        assert!(linux.contains(barrier), "{barrier}: {linux}");
    }
    let wasi = silo.ok(&["run", "--rm", "--backend", "wasi", "hello"]);
    assert!(wasi.to_lowercase().contains("wasm") || wasi.contains("WebAssembly"), "{wasi}");
}

#[test]
fn a_foreground_run_gives_the_guests_output_and_nothing_else() {
    let silo = Silo::new();
    let ended = silo.run(&["run", "--rm", "hello"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert!(!ended.stdout.is_empty());
}

#[test]
fn a_second_user_has_a_store_of_their_own() {
    if !host::needs_root() {
        return;
    }
    let silo = Silo::unprivileged();
    silo.ok(&["run", "--rm", "hello"]);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(silo.root()).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o700);
}
