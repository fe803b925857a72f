//! A supervisor that is killed: the next command takes up what it left.

use std::process::Command;

use crate::support::{Silo, guests::silo_with_module, host::status_field, wait_until};

fn kill_supervisors(silo: &Silo) {
    let pids = silo.processes();
    assert!(!pids.is_empty(), "there is a supervisor");
    for pid in pids.iter().map(ToString::to_string) {
        Command::new("kill").args(["-KILL", &pid]).status().expect("kill");
        // A process that is ending loses its command line before its locks.
        wait_until("the supervisor to end", || has_ended(&pid));
    }
    assert!(silo.processes().is_empty(), "there is no other");
}

/// Whether a process is gone, or waits to be waited for and holds nothing any more.
fn has_ended(pid: &str) -> bool {
    status_field(pid, "State").is_none_or(|state| state.starts_with('Z'))
}

fn assert_reclaimed(silo: &Silo, image: &[&str]) {
    let mut args = vec!["run", "-d", "--name", "lost"];
    args.extend(image);
    let id = silo.ok(&args);
    let mut removed = vec!["run", "-d", "--rm", "--name", "gone"];
    removed.extend(image);
    let other = silo.ok(&removed);
    kill_supervisors(silo);
    let listed = silo.ok(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
    assert_eq!(listed, "lost exited");
    assert_eq!(silo.inspect("lost", "{{.State.ExitCode}}"), "137");
    silo.ok(&["system", "check"]);
    silo.ok(&["start", "lost"]);
    assert_eq!(silo.inspect("lost", "{{.State.Status}}"), "running");
    silo.ok(&["rm", "-f", "lost"]);
    silo.assert_nothing_left(&[id, other]);
}

#[test]
fn a_linux_container_whose_supervisor_was_killed_is_reclaimed() {
    let Some(silo) = Silo::with_busybox() else { return };
    assert_reclaimed(&silo, &["busybox", "sleep", "1000"]);
}

#[test]
fn a_wasm_container_whose_supervisor_was_killed_is_reclaimed() {
    let silo = silo_with_module("(loop $for_ever (br $for_ever))");
    assert_reclaimed(&silo, &["guest"]);
}

#[test]
fn the_guest_does_not_outlive_its_supervisor() {
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&["run", "-d", "--name", "c", "busybox", "sleep", "1000"]);
    let guest = silo.inspect("c", "{{.State.Pid}}");
    assert!(std::path::Path::new(&format!("/proc/{guest}")).exists());
    kill_supervisors(&silo);
    wait_until("the guest to end", || has_ended(&guest));
}

#[test]
fn a_starter_that_is_killed_leaves_a_detached_container_alone() {
    let Some(silo) = Silo::with_busybox() else { return };
    let mut starter = silo.spawn(&["run", "--name", "c", "busybox", "sleep", "1000"]);
    wait_until("the container to run", || {
        silo.run(&["inspect", "--format", "{{.State.Status}}", "c"]).stdout.trim() == "running"
    });
    starter.kill().unwrap();
    starter.wait().unwrap();
    assert_eq!(silo.inspect("c", "{{.State.Status}}"), "running");
    silo.ok(&["rm", "-f", "c"]);
    silo.assert_nothing_left(&[]);
}
