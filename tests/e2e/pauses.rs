//! Containers that stand still.

use std::{fs, process::Command, thread, time::Duration};

use crate::support::{Silo, guests, transcript::Transcript, wait_until};

/// Adds to a file for ever.
const COUNT: &str = "while :; do echo + >>/count; sleep 0.01; done";

fn count(silo: &Silo) -> usize {
    let archive = silo.command(&["cp", "c:/count", "-"]).output().unwrap().stdout;
    String::from_utf8_lossy(&archive).matches('+').count()
}

fn supervisor(silo: &Silo) -> String {
    let id = silo.inspect("c", "{{.Id}}");
    let state = fs::read(silo.root().join("containers").join(id).join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    assert_eq!(state["status"], "paused");
    state["supervisor"].to_string()
}

#[test]
fn a_paused_container_stands_still_and_goes_on_when_it_is_unpaused() {
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&["run", "-d", "--name", "c", "busybox", "sh", "-c", COUNT]);
    wait_until("it to count", || count(&silo) > 0);
    Transcript::of(&silo)
        .run(&["unpause", "c"])
        .run(&["pause", "c"])
        .run(&["pause", "c", "nonexistent"])
        .run(&["ps", "--format", "{{.Names}} {{.State}}"])
        .run(&["ps", "-q", "--filter", "status=running"])
        .run(&["ps", "--filter", "status=paused", "--format", "{{.Names}}"])
        .run(&["inspect", "-f", "{{.State.Status}} {{.State.Running}} {{.State.Paused}}", "c"])
        .run(&["exec", "c", "true"])
        .run(&["start", "c"])
        .run(&["rm", "c"])
        .run(&["container", "prune", "-f"])
        .assert("paused");
    let shown = silo.ok(&["ps", "--format", "{{.Status}}"]);
    assert!(shown.starts_with("Up ") && shown.ends_with(" (Paused)"), "{shown}");
    let before = count(&silo);
    silo.ok(&["commit", "c", "of-a-paused-one"]);
    let file = silo.file("file", "from outside");
    silo.ok(&["cp", file.to_str().unwrap(), "c:/file"]);
    // It goes on too early if it does at all.
    thread::sleep(Duration::from_millis(200));
    assert_eq!(count(&silo), before);
    assert_eq!(silo.ok(&["unpause", "c"]), "c");
    wait_until("it to count on", || count(&silo) > before);
    assert_eq!(silo.inspect("c", "{{.State.Status}} {{.State.Paused}}"), "running false");
    silo.ok(&["exec", "c", "cat", "/file"]);
    silo.ok(&["rm", "-f", "c"]);
    Transcript::of(&silo)
        .run(&["create", "--name", "new", "busybox", "true"])
        .run(&["pause", "new"])
        .run(&["unpause", "new"])
        .run(&["rm", "new"])
        .assert("paused-never-started");
    silo.assert_nothing_left(&[]);
}

#[test]
fn a_paused_container_ends_when_it_is_asked_to() {
    let Some(silo) = Silo::with_busybox() else { return };
    let script = "trap 'exit 5' TERM; trap 'exit 6' HUP; echo ready; while :; do sleep 0.1; done";
    let start = || {
        silo.ok(&["run", "-d", "--name", "c", "busybox", "sh", "-c", script]);
        wait_until("it to be ready", || silo.run(&["logs", "c"]).stdout == "ready\n");
        silo.ok(&["pause", "c"]);
    };
    let ends = [
        (&["stop", "-t", "1000", "c"][..], "5"),
        (&["kill", "c"], "137"),
        (&["kill", "-s", "TERM", "c"], "5"),
    ];
    for (command, code) in ends {
        start();
        silo.ok(command);
        assert_eq!(silo.ok(&["wait", "c"]), code, "{command:?}");
        silo.ok(&["rm", "c"]);
    }
    start();
    silo.ok(&["kill", "-s", "HUP", "c"]);
    assert_eq!(silo.inspect("c", "{{.State.Status}}"), "paused");
    silo.ok(&["unpause", "c"]);
    assert_eq!(silo.ok(&["wait", "c"]), "6");
    silo.ok(&["rm", "c"]);
    start();
    silo.ok(&["rm", "-f", "c"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn a_supervisor_that_is_killed_while_its_container_is_paused_leaves_nothing() {
    let Some(silo) = Silo::with_busybox() else { return };
    let id = silo.ok(&["run", "-d", "--name", "c", "busybox", "sleep", "1000"]);
    silo.ok(&["pause", "c"]);
    assert!(Command::new("kill").args(["-KILL", &supervisor(&silo)]).status().unwrap().success());
    wait_until("the supervisor to end", || silo.processes().is_empty());
    assert_eq!(silo.inspect("c", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    assert!(silo.ok(&["system", "check"]).starts_with("whole"));
    silo.ok(&["rm", "c"]);
    silo.assert_nothing_left(&[id]);
}

#[test]
fn a_paused_wasm_program_stands_still_and_ends_when_it_is_asked_to() {
    let silo = guests::silo_with_module("(loop $on (br $on))");
    silo.ok(&["run", "-d", "--name", "c", "guest"]);
    silo.ok(&["pause", "c"]);
    let shown = silo.ok(&["ps", "--format", "{{.Status}}"]);
    assert!(shown.starts_with("Up ") && shown.ends_with(" (Paused)"), "{shown}");
    assert!(silo.fails(1, &["pause", "c"]).contains("container c is already paused"));
    silo.ok(&["unpause", "c"]);
    assert!(silo.fails(1, &["unpause", "c"]).contains("container c is not paused"));
    silo.ok(&["pause", "c"]);
    silo.ok(&["stop", "-t", "1000", "c"]);
    assert_eq!(silo.ok(&["wait", "c"]), "143");
    silo.ok(&["start", "c"]);
    silo.ok(&["pause", "c"]);
    silo.ok(&["rm", "-f", "c"]);
    silo.assert_nothing_left(&[]);
}
