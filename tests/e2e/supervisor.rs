//! The process beside each container, as others on the host see it.

use std::{fs, io::Read as _, process::Stdio};

use crate::support::{Silo, host::text, wait_until};

/// A container that sleeps, started by a shell as `line` says: `"$@"` is the command.
fn started_by(silo: &Silo, line: &str) -> u32 {
    let run = ["run", "-d", "-e", "PASSWORD=hunter2", "--name", "sleeper"];
    let silo_command = silo.command(&[&run[..], &["busybox", "sleep", "1000"]].concat());
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", line, "sh"]).arg(silo_command.get_program()).args(silo_command.get_args());
    let mut shell = shell.stdout(Stdio::null()).spawn().unwrap();
    wait_until("the shell to end", || shell.try_wait().unwrap().is_some());
    let state = fs::read(silo.root().join("containers").join(id(silo)).join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    u32::try_from(state["supervisor"].as_u64().unwrap()).unwrap()
}

fn id(silo: &Silo) -> String {
    silo.inspect("sleeper", "{{.Id}}")
}

#[test]
fn a_supervisor_shows_nothing_of_the_command_that_started_it() {
    let Some(silo) = Silo::with_busybox() else { return };
    let supervisor = started_by(&silo, r#""$@""#);
    let line = fs::read(format!("/proc/{supervisor}/cmdline")).unwrap();
    let line = String::from_utf8(line).unwrap().replace('\0', " ");
    let shown = format!("{} supervise {}", text(silo.program()), text(&silo.root()));
    assert!(line.starts_with(&shown), "{line}");
    assert!(!line.contains("hunter2") && !line.contains("sleeper"), "{line}");
}

#[test]
fn a_supervisor_holds_nothing_of_the_process_that_started_it() {
    let Some(silo) = Silo::with_busybox() else { return };
    // The reader ends when nobody can write any more.
    let supervisor = started_by(&silo, r#""$@" 9>&1 >/dev/null | cat"#);
    let of = |name: &str| format!("/proc/{supervisor}/{name}");
    assert_eq!(fs::read_link(of("cwd")).unwrap(), std::path::Path::new("/"));
    let status = fs::read_to_string(of("status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
    // The C library's own are above.
    assert_eq!(caught & 0x7fff_ffff, 0, "it has handlers of its starter's: {caught:x}");
    let root = silo.root();
    let own = [
        "socket:",
        "pipe:",
        "anon_inode:",
        "/dev/null",
        "/sys/fs/cgroup",
        "/run/silo/ids",
        text(&root),
    ];
    for descriptor in fs::read_dir(of("fd")).unwrap().flatten() {
        let Ok(target) = fs::read_link(descriptor.path()) else { continue };
        assert!(own.iter().any(|own| text(&target).starts_with(own)), "it holds {target:?}");
    }
}

#[test]
fn nothing_of_the_store_is_in_use_when_run_has_ended() {
    let Some(silo) = Silo::with_busybox() else { return };
    let root = text(&silo.root()).to_owned();
    for _ in 0..20 {
        silo.ok(&["run", "--rm", "busybox", "true"]);
        for process in silo.processes() {
            let held = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
            for descriptor in held {
                let target = fs::read_link(descriptor.path()).unwrap_or_default();
                assert!(!text(&target).starts_with(&root), "{target:?} is still open");
            }
        }
    }
}

#[test]
fn a_signal_reaches_a_guest_that_never_stops_writing() {
    let Some(silo) = Silo::with_busybox() else { return };
    let script = "trap 'exit 7' TERM; yes & wait";
    let mut run = silo.command(&["run", "--rm", "--name", "loud", "busybox", "sh", "-c", script]);
    let mut run = run.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = run.stdout.take().unwrap();
    // Slower than the guest, so that there is always more to come.
    let reader = std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while output.read(&mut piece).unwrap() > 0 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    });
    wait_until("the guest to write", || {
        silo.run(&["inspect", "--format", "{{.State.Status}}", "loud"]).stdout.trim() == "running"
    });
    // Longer than the starter takes to have a thread for signals.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let pid = run.id().to_string();
    std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    let mut ended = None;
    wait_until("the guest to end", || {
        ended = run.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(7));
    reader.join().unwrap();
}
