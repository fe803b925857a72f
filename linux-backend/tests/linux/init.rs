//! A program below an init process.

use std::{fs, thread, time::Duration};

use silo_isolation::{Bundle, ExitStatus, IsolationBackend as _, Signal};
use silo_linux::LinuxBackend;

use crate::machine::{Machine, chain, is_able, is_root, output, pipes, process, read, run, start};

/// A bundle with an init process; without root it is refused.
fn below_init(machine: &Machine, line: &str) -> Option<Bundle> {
    let mut bundle = machine.shell(line);
    bundle.init = true;
    if is_root() {
        return Some(bundle);
    }
    assert_eq!(LinuxBackend.admit(&bundle).first().unwrap().what, "--init");
    None
}

#[test]
fn the_programs_end_is_the_containers() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    for (line, code) in [("exit 7", 7), ("kill -9 $$", 137), ("sleep 1000 & exit 0", 0)] {
        let Some(bundle) = below_init(&machine, line) else { return };
        assert_eq!(run(&bundle).exit.status, ExitStatus::Exited(code), "{line}");
    }
    let Some(mut bundle) = below_init(&machine, "") else { return };
    bundle.process.args = vec!["no-such-program".to_owned()];
    let (stdio, _out, _err) = pipes();
    let sandbox = LinuxBackend.create(&bundle, stdio).unwrap();
    let error = sandbox.start().unwrap_err();
    assert_eq!(error.exit_code(), 127, "{}", chain(&error));
    sandbox.delete().unwrap();
}

#[test]
fn signals_are_passed_on() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let polite = "trap 'exit 9' HUP; echo ready; while :; do sleep 0.1; done";
    // As the first process it would not end by a signal that it does not handle.
    for (line, signal, code) in
        [(polite, Signal::HUP, 9), ("echo ready; exec sleep 1000", Signal::TERM, 143)]
    {
        let Some(bundle) = below_init(&machine, line) else { return };
        let mut running = start(&bundle);
        running.ready();
        running.sandbox.signal(signal).unwrap();
        assert_eq!(running.finish().exit.status, ExitStatus::Exited(code), "{line}");
    }
}

#[test]
fn orphans_are_reaped() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let line = "sh -c 'sleep 0.1 & sleep 0.1 & true'; sleep 1; \
                for stat in /proc/[0-9]*/stat; do cat $stat; done | grep -c ') Z '; echo $$";
    let Some(bundle) = below_init(&machine, line) else { return };
    assert_eq!(output(&bundle), "0\n2\n");
}

#[test]
fn nobody_sees_the_engine_in_it() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let line = "tr '\\0' . < /proc/1/cmdline; echo; cat /proc/1/comm; \
                for file in mem environ maps auxv io stack syscall; do cat /proc/1/$file; done; \
                for link in exe cwd root; do readlink /proc/1/$link; done; \
                ls /proc/1/fd /proc/1/map_files | grep -v :; \
                grep -E '^(Cap|NoNew|Seccomp|Uid)' /proc/1/status > /one; \
                grep -E '^(Cap|NoNew|Seccomp|Uid)' /proc/self/status | cmp - /one && echo alike";
    let Some(bundle) = below_init(&machine, line) else { return };
    let ran = run(&bundle);
    let rest = ran.out.strip_prefix("init").unwrap().trim_start_matches('.');
    assert_eq!(rest.replace("\n\n", "\n"), "\ninit\nalike\n", "{ran:?}");
}

#[test]
fn processes_join_and_it_has_no_descriptors() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let Some(bundle) = below_init(&machine, "echo ready; sleep 1000") else { return };
    let mut running = start(&bundle);
    running.ready();
    let pid = running.sandbox.pid().unwrap();
    thread::sleep(Duration::from_millis(50));
    assert_eq!(fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(), 0);
    let (stdio, out, _err) = pipes();
    let exec = running.sandbox.exec().unwrap();
    exec.exec(&process(&["sh", "-c", "echo joined; kill -9 1"]), stdio).unwrap().wait().unwrap();
    assert_eq!(read(out).join().unwrap(), "joined\n");
    running.sandbox.signal(Signal::KILL).unwrap();
    assert_eq!(running.finish().exit.status, ExitStatus::Signaled(Signal::KILL));
}
