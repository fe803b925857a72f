use std::{fs, path::Path, time::Instant};

use silo_isolation::{Bundle, IsolationBackend as _, Limits, Signal};
use silo_linux::LinuxBackend;

use crate::machine::{Machine, is_able, is_root, run, skip, start};

/// Whether `limits` can be held here.
fn limited(bundle: &mut Bundle, limits: Limits) -> bool {
    bundle.limits = limits;
    let refusals = LinuxBackend::new().admit(bundle);
    if refusals.is_empty() {
        return true;
    }
    // Without root that is how most machines are.
    assert!(refusals.iter().all(|refusal| !refusal.why.is_empty()));
    is_root() && skip(&format!("{refusals:?}"))
}

#[test]
fn a_guest_that_takes_too_much_memory_is_killed_and_that_is_told() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell("echo start; tail /dev/zero");
    if limited(&mut bundle, Limits { memory: Some(16 << 20), ..Limits::default() }) {
        let ran = run(&bundle);
        assert!(ran.exit.oom_killed, "{ran:?}");
        assert_eq!(ran.exit.code(), 137);
    }
}

#[test]
fn a_guest_makes_no_more_processes_than_it_may() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell("for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done");
    if limited(&mut bundle, Limits { pids: Some(5), ..Limits::default() }) {
        let ran = run(&bundle);
        assert!(ran.err.contains("can't fork"), "{ran:?}");
        assert!(!ran.exit.oom_killed);
    }
}

#[test]
fn a_guest_gets_no_more_processor_time_than_it_may() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell("echo ready; while :; do :; done");
    let limits = Limits { nano_cpus: Some(200_000_000), pids: Some(9), ..Limits::default() };
    if limited(&mut bundle, limits) {
        let began = Instant::now();
        let mut running = start(&bundle);
        running.ready();
        std::thread::sleep(std::time::Duration::from_secs(1));
        let stats = running.sandbox.stats().unwrap();
        let share = f64::from(u32::try_from(stats.cpu_nanos.unwrap() / 1000).unwrap())
            / 1e6
            / began.elapsed().as_secs_f64();
        assert!(share < 0.4, "{share}");
        assert_eq!(stats.pids, Some(1));
        assert!(stats.memory.unwrap() > 0);
        running.sandbox.signal(Signal::KILL).unwrap();
        running.finish();
    }
}

#[test]
fn cgroups_go_with_the_sandbox() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell("true");
    let limits =
        Limits { memory: Some(64 << 20), pids: Some(9), nano_cpus: Some(1 << 30), timeout: None };
    if limited(&mut bundle, limits) {
        let running = start(&bundle);
        let record = fs::read_to_string(bundle.state_dir.join("linux.json")).unwrap();
        let paths: Vec<_> = record
            .lines()
            .filter_map(|line| line.strip_prefix("{\"cgroup\":\"")?.strip_suffix("\"}"))
            .collect();
        assert!(!paths.is_empty(), "{record}");
        assert!(paths.iter().all(|path| Path::new(path).is_dir()));
        running.finish();
        assert!(paths.iter().all(|path| !Path::new(path).exists()));
    }
}

#[test]
fn stats_are_told_without_cgroups_too() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut running = start(&machine.shell("echo ready; sleep 1000"));
    running.ready();
    let stats = running.sandbox.stats().unwrap();
    assert!(stats.memory.unwrap() > 0 && stats.cpu_nanos.is_some(), "{stats:?}");
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();
}
