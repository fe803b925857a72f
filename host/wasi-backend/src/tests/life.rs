//! Starting, ending, streams, arguments, limits.

use std::{
    io::{Write, pipe},
    thread,
    time::{Duration, Instant},
};

use silo_isolation::{Error, Exit, ExitStatus, IsolationBackend, Signal, Stdio, User};

use super::{guest, harness::Container};

#[test]
fn arguments_environment_and_streams_reach_the_guest() {
    let mut container = guest(["print", "hello", "print", "", "env", "complain", "oh", "stdin"]);
    container.bundle.process.env = vec!["A=1".to_owned(), "B=x=y".to_owned()];
    container.stdin = Some(b"some\ninput".to_vec());
    let output = container.run();
    assert_eq!(output.stderr, "oh\n");
    assert_eq!(output.ok(), "hello\n\nA=1\nB=x=y\nsome\ninput");
}

#[test]
fn no_stdin_is_an_empty_one() {
    assert_eq!(guest(["stdin", "print", "end"]).run().ok(), "end\n");
}

#[test]
fn much_input_and_output_pass() {
    let mut container = guest(["stdin"]);
    let input: Vec<u8> = (0..3_000_000_u32).map(|n| b'a' + n.to_le_bytes()[0] % 26).collect();
    container.stdin = Some(input.clone());
    assert!(container.run().ok().into_bytes() == input);
}

#[test]
fn an_exit_code_is_told() {
    for (code, text) in [(0, "0"), (1, "1"), (42, "42"), (255, "255")] {
        let exit = guest(["exit", text]).run().exit;
        assert_eq!(exit, Exit::new(ExitStatus::Exited(code)));
    }
}

#[test]
fn a_trap_says_why_and_where() {
    let message = guest(["abort"]).run().trap();
    assert!(message.contains("unreachable") && message.contains("backtrace"), "{message}");
    let message = guest(["recurse"]).run().trap();
    assert!(message.contains("call stack exhausted"), "{message}");
}

#[test]
fn a_signal_ends_a_guest_that_computes_sleeps_or_reads() {
    for what in ["spin", "sleep", "read"] {
        for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
            let container = guest(["print", "ready", if what == "read" { "stdin" } else { what }]);
            let (stdin, _open) = pipe().unwrap();
            let (mut out, stdout) = pipe().unwrap();
            let (_err, stderr) = pipe().unwrap();
            let stdio = Stdio::Pipes { stdin: Some(stdin), stdout, stderr };
            let sandbox = container.backend.create(&container.bundle, stdio).unwrap();
            sandbox.start().unwrap();
            let mut ready = [0; 6];
            std::io::Read::read_exact(&mut out, &mut ready).unwrap();
            thread::sleep(Duration::from_millis(20));
            sandbox.signal("USR1".parse().unwrap()).unwrap();
            let begin = Instant::now();
            sandbox.signal(signal).unwrap();
            let exit = sandbox.wait().unwrap();
            assert!(begin.elapsed() < Duration::from_millis(500), "{what} {:?}", begin.elapsed());
            assert_eq!(exit, Exit::new(ExitStatus::Signaled(signal)), "{what}");
            assert_eq!(sandbox.wait().unwrap(), exit);
            sandbox.signal(Signal::KILL).unwrap();
            sandbox.delete().unwrap();
        }
    }
}

#[test]
fn a_signal_ends_a_guest_whose_output_nobody_reads() {
    let container = guest(["stdin"]);
    let (stdin, mut input) = pipe().unwrap();
    let (_out, stdout) = pipe().unwrap();
    let (_err, stderr) = pipe().unwrap();
    let stdio = Stdio::Pipes { stdin: Some(stdin), stdout, stderr };
    let sandbox = container.backend.create(&container.bundle, stdio).unwrap();
    sandbox.start().unwrap();
    thread::spawn(move || input.write_all(&vec![b'x'; 1 << 20]));
    thread::sleep(Duration::from_millis(100));
    sandbox.signal(Signal::TERM).unwrap();
    assert_eq!(sandbox.wait().unwrap(), Exit::new(ExitStatus::Signaled(Signal::TERM)));
    sandbox.delete().unwrap();
}

#[test]
fn a_sandbox_starts_once_and_can_be_deleted_unstarted() {
    let running = guest(["print", "x"]).start();
    assert!(matches!(running.sandbox.start(), Err(Error::WrongState { .. })));
    assert_eq!(running.finish().ok(), "x\n");
    guest(["spin"]).create().unwrap().sandbox.delete().unwrap();
}

#[test]
fn memory_beyond_the_limit_is_refused_and_told() {
    let mut container = guest(["grow"]);
    container.bundle.limits.memory = Some(16 << 20);
    let exit = container.run().exit;
    assert!(exit.oom_killed && matches!(exit.status, ExitStatus::Trapped(_)), "{exit:?}");
    container.bundle.limits.memory = Some(1 << 16);
    let exit = container.run().exit;
    assert!(exit.oom_killed && exit.code() == 134, "{exit:?}");
    let mut container = guest(["print", "fits"]);
    container.bundle.limits.memory = Some(16 << 20);
    assert_eq!(container.run().ok(), "fits\n");
}

#[test]
fn stats_tell_memory_and_processor_time() {
    let running = guest(["spin"]).start();
    let end = Instant::now() + Duration::from_mins(1);
    let stats = loop {
        let stats = running.sandbox.stats().unwrap();
        if stats.cpu_nanos.unwrap() > 20_000_000 {
            break stats;
        }
        assert!(Instant::now() < end, "{stats:?}");
        thread::sleep(Duration::from_millis(20));
    };
    assert!(stats.memory.unwrap() >= 4 * 65536, "{stats:?}");
    assert_eq!(stats.pids, Some(1));
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();
}

#[test]
fn a_share_of_a_core_is_kept_to() {
    let mut container = guest(["spin"]);
    container.bundle.limits.nano_cpus = Some(200_000_000);
    let running = container.start();
    thread::sleep(Duration::from_millis(300));
    let (begin, before) = (Instant::now(), running.sandbox.stats().unwrap().cpu_nanos.unwrap());
    thread::sleep(Duration::from_secs(1));
    let used = running.sandbox.stats().unwrap().cpu_nanos.unwrap() - before;
    let share = Duration::from_nanos(used).as_secs_f64() / begin.elapsed().as_secs_f64();
    assert!(share < 0.35, "used {share} of a core");
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();
}

#[test]
fn what_cannot_run_says_what_it_is() {
    for (content, says) in [
        (&b"\x7fELF\x02\x01\x01"[..], "an ELF file"),
        (b"#!/bin/sh\n", "a script"),
        (b"(module", "not valid WebAssembly text"),
        (b"\0asm\x01\0\0\0\x01", "WASI 0.1"),
        (br#"(module (import "env" "launch" (func)) (func (export "_start")))"#, "launch"),
        (b"(component)", "wasi:cli/run"),
        (
            br#"(component (import "wasi:http/types@0.2.0" (instance (export "x" (func)))))"#,
            "wasi:http/types",
        ),
        (
            br#"(component (import "host:gate/open@1.0.0" (instance (export "now" (func)))))"#,
            "host:gate/open",
        ),
    ] {
        let error = Container::new(content).refused();
        assert_eq!(error.exit_code(), 126, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_program_is_found_by_path_name_and_working_directory() {
    for (name, cwd) in [
        ("/opt/bin/tool", "/"),
        ("tool", "/"),
        ("bin/tool", "/opt"),
        ("./tool", "/opt/bin"),
        ("tool", "/opt/bin"),
    ] {
        let mut container = Container::empty().args(["print", "found"]);
        container.image_file("opt/bin/tool", super::GUEST);
        container.bundle.process.args[0] = name.to_owned();
        cwd.clone_into(&mut container.bundle.process.cwd);
        container.bundle.process.env = vec!["PATH=/nowhere:/opt/bin".to_owned()];
        assert_eq!(container.run().ok(), "found\n", "{name} in {cwd}");
    }
    let mut container = Container::empty();
    container.bundle.process.args[0] = "tool".to_owned();
    let error = container.refused();
    assert_eq!(error.exit_code(), 127);
    assert!(error.to_string().contains("PATH is /usr/local/sbin"), "{error}");
    container.bundle.process.args[0] = "/".to_owned();
    assert_eq!(container.refused().exit_code(), 126);
}

#[test]
fn what_cannot_be_honoured_is_refused_together() {
    let mut container = guest(["print", "x"]);
    container.bundle.process.terminal = true;
    container.bundle.process.user = Some(User { uid: 1000, gid: 1000, additional_gids: vec![] });
    container.bundle.init = true;
    container.bundle.limits.pids = Some(0);
    let refusals = container.backend.admit(&container.bundle);
    assert_eq!(refusals.len(), 4, "{refusals:?}");
}
