use std::{
    fs,
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use silo_isolation::{Error, ExitStatus, IsolationBackend as _, Signal, Stdio, TerminalSize, User};
use silo_linux::LinuxBackend;

use crate::machine::{Machine, chain, is_able, is_root, output, pipes, run, start};

#[test]
fn exit_codes_and_signals_are_told() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    assert_eq!(run(&machine.shell("exit 42")).exit.status, ExitStatus::Exited(42));
    let mut running =
        start(&machine.shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"));
    running.ready();
    running.sandbox.signal(Signal::TERM).unwrap();
    assert_eq!(running.finish().exit.status, ExitStatus::Exited(7));
    let mut running = start(&machine.shell("echo ready; sleep 1000"));
    running.ready();
    running.sandbox.signal(Signal::KILL).unwrap();
    assert_eq!(running.finish().exit.status, ExitStatus::Signaled(Signal::KILL));
}

fn refusal(machine: &Machine, args: &[&str]) -> Error {
    let (stdio, _out, _err) = pipes();
    let sandbox = LinuxBackend::new().create(&machine.bundle(args), stdio).unwrap();
    let error = sandbox.start().unwrap_err();
    sandbox.delete().unwrap();
    error
}

#[test]
fn a_program_that_cannot_run_is_told_with_its_reason() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    for (args, code, text) in [
        ("nothing", 127, "no program `nothing` in the image (PATH is /bin:/usr/bin)"),
        ("/bin/nothing", 127, "no program `/bin/nothing` in the image"),
        ("", 127, "no program `` in the image (PATH is /bin:/usr/bin)"),
        ("/bin", 126, "cannot run `/bin`: it is a directory"),
        ("plain", 126, "cannot run `plain`: it is not executable by this user (permission denied)"),
        (
            "noise",
            126,
            "cannot run `noise`: it is no program for this machine, nor a script with a #! line",
        ),
        (
            "orphan",
            126,
            "cannot run `orphan`: the interpreter or loader that it names is not in the image",
        ),
    ] {
        let error = refusal(&machine, &[args]);
        assert_eq!((error.exit_code(), chain(&error).as_str()), (code, text));
    }
}

#[test]
fn a_failed_step_names_its_path() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.bundle(&["true"]);
    bundle.process.cwd = "/greeting/below".to_owned();
    let (stdio, _out, _err) = pipes();
    let error = LinuxBackend::new().create(&bundle, stdio).err().unwrap();
    assert_eq!(
        chain(&error),
        "cannot make or enter the working directory: Not a directory (os error 20)"
    );
    let mut bundle = machine.bundle(&["true"]);
    bundle.root.snapshot.lowers[0].path = machine.path("gone");
    let (stdio, _out, _err) = pipes();
    let error = LinuxBackend::new().create(&bundle, stdio).err().unwrap();
    let text = chain(&error);
    assert!(
        text.starts_with("cannot add the layer ") && text.contains("/gone to the root"),
        "{text}"
    );
    assert!(!bundle.state_dir.join("linux.json").exists());
}

#[test]
fn what_a_guest_leaves_running_ends_with_it() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    // The orphan would hold the pipe open.
    assert_eq!(output(&machine.shell("sleep 1000 & echo started")), "started\n");
}

#[test]
fn a_terminal_is_the_guests_controlling_one() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell(
        "tty; stty size; [ /dev/console -ef /dev/pts/0 ] && echo console; read line; echo got $line; stty size; echo > /dev/tty",
    );
    bundle.process.terminal = true;
    if is_root() {
        bundle.process.user = Some(User { uid: 5, gid: 5, additional_gids: Vec::new() });
    }
    let size = TerminalSize { rows: 33, columns: 99 };
    let sandbox = LinuxBackend::new().create(&bundle, Stdio::Terminal(size)).unwrap();
    let terminal = sandbox.terminal().unwrap();
    let mut output = terminal.output().unwrap();
    sandbox.start().unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.contains("33 99") {
        let length = output.read(&mut buffer).unwrap();
        assert_ne!(length, 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    terminal.resize(TerminalSize { rows: 12, columns: 34 }).unwrap();
    terminal.input().unwrap().write_all(b"typed\n").unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    seen.push_str(&rest);
    assert!(seen.starts_with("/dev/pts/0\r\n"), "{seen:?}");
    assert!(seen.contains("got typed\r\n12 34\r\n"), "{seen:?}");
    assert_eq!(sandbox.wait().unwrap().status, ExitStatus::Exited(0), "{seen:?}");
    sandbox.delete().unwrap();
}

#[test]
fn a_guest_dies_with_its_supervisor_and_is_reclaimed() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell("echo ready; sleep 1000");
    if is_root() {
        bundle.limits.pids = Some(20);
    }
    let state = bundle.state_dir.clone();
    let cgroup = format!("/sys/fs/cgroup/pids/silo/{}", bundle.id);
    // The supervisor: a thread that ends without deleting, as PR_SET_PDEATHSIG is about threads.
    let sandbox = std::thread::spawn(move || {
        let mut running = start(&bundle);
        running.ready();
        running.sandbox
    })
    .join()
    .unwrap();
    assert_eq!(sandbox.wait().unwrap().status, ExitStatus::Signaled(Signal::KILL));
    std::mem::forget(sandbox);
    assert!(state.join("linux.json").exists());
    LinuxBackend::new().reclaim("", &state).unwrap();
    assert!(!fs::exists(&cgroup).unwrap());
    assert!(!state.join("linux.json").exists());
}

#[test]
fn a_guest_that_outlived_its_supervisor_is_ended_by_reclaiming() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let bundle = machine.shell("echo ready; sleep 1000");
    let mut running = start(&bundle);
    running.ready();
    let began = Instant::now();
    // We are its parent and alive: for the record that makes no difference.
    LinuxBackend::new().reclaim(&bundle.id, &bundle.state_dir).unwrap();
    assert_eq!(running.finish().exit.status, ExitStatus::Signaled(Signal::KILL));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn nothing_is_left_behind() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let bundle = machine.bundle(&["true"]);
    run(&bundle);
    assert!(!mounts().contains(&bundle.id));
    assert_eq!(mounts(), before);
    assert!(!bundle.state_dir.join("linux.json").exists());
}
