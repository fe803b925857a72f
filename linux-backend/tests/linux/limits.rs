use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use silo_isolation::{
    Bundle, Ceiling, DeviceRate, IsolationBackend as _, Limits, Sandbox, Signal, Throttle,
};
use silo_linux::LinuxBackend;

use crate::machine::{Machine, is_able, is_root, output, run, skip, start};

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

/// The cgroups of a sandbox.
fn cgroups(bundle: &Bundle) -> Vec<PathBuf> {
    let record = fs::read_to_string(bundle.state_dir.join("linux.json")).unwrap();
    let path = |line: &str| {
        Some(line.strip_prefix("{\"cgroup\":\"")?.strip_suffix("\"}")?.to_owned().into())
    };
    record.lines().filter_map(path).collect()
}

/// What the first of `files` that a sandbox's cgroups have holds.
fn held(bundle: &Bundle, files: &[&str]) -> String {
    let cgroups = cgroups(bundle);
    let paths = cgroups.iter().flat_map(|path| files.iter().map(|file| path.join(file)));
    let found: Vec<String> = paths.filter_map(|path| fs::read_to_string(path).ok()).collect();
    assert!(!found.is_empty(), "none of {files:?} in {cgroups:?}");
    found[0].trim_end().to_owned()
}

/// Asserts that a running sandbox with `limits` has in its cgroups what `expected` lists: the names
/// of a file, which differ between kernels, and what it may hold in each.
fn assert_held(limits: Limits, expected: &[(&[&str], &[&str])]) {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell("echo ready; sleep 1000");
    if limited(&mut bundle, limits) {
        let mut running = start(&bundle);
        running.ready();
        for (files, values) in expected {
            let held = held(&bundle, files);
            assert!(values.contains(&held.as_str()), "{files:?}: {held}");
        }
        running.sandbox.signal(Signal::KILL).unwrap();
        running.finish();
    }
}

#[test]
fn memory_and_swap_are_held() {
    let limits = Limits {
        memory: Some(32 << 20),
        memory_swap: Some(Ceiling::At(48 << 20)),
        memory_reservation: Some(16 << 20),
        ..Limits::default()
    };
    assert_held(
        limits,
        &[
            (&["memory.limit_in_bytes", "memory.max"], &["33554432"; 2]),
            (&["memory.memsw.limit_in_bytes", "memory.swap.max"], &["50331648", "16777216"]),
            (&["memory.soft_limit_in_bytes", "memory.low"], &["16777216"; 2]),
        ],
    );
}

#[test]
fn shares_and_quotas_are_held() {
    let limits = Limits {
        cpu_shares: Some(512),
        cpu_period: Some(50_000),
        cpu_quota: Some(Ceiling::At(25_000)),
        ..Limits::default()
    };
    assert_held(
        limits,
        &[
            (&["cpu.shares", "cpu.weight"], &["512", "20"]),
            (&["cpu.cfs_period_us", "cpu.max"], &["50000", "25000 50000"]),
            (&["cpu.cfs_quota_us", "cpu.max"], &["25000", "25000 50000"]),
        ],
    );
}

#[test]
fn a_guest_runs_where_it_may_run() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell("grep allowed_list /proc/self/status | tr -d '\t'");
    // Memory nodes are inherited where only processors are asked for.
    let limits = Limits { cpuset_cpus: Some("0".to_owned()), ..Limits::default() };
    if limited(&mut bundle, limits) {
        let out = output(&bundle);
        assert!(out.contains("Cpus_allowed_list:0\n"), "{out}");
        assert!(out.contains("Mems_allowed_list:0\n"), "{out}");
    }
    let limits = Limits { cpuset_cpus: Some("0,4000".to_owned()), ..Limits::default() };
    bundle.limits = limits;
    let refusals = LinuxBackend::new().admit(&bundle);
    assert_eq!(refusals.first().unwrap().what, "--cpuset-cpus", "{refusals:?}");
}

#[test]
fn weights_and_rates_of_disks_are_held() {
    let Some((path, number)) = block_device() else { return };
    let rate = |what, rate| DeviceRate { path: path.clone(), what, rate };
    let limits = Limits {
        blkio_weight: Some(300),
        device_rates: vec![rate(Throttle::ReadBps, 1 << 20), rate(Throttle::WriteIops, 50)],
        ..Limits::default()
    };
    let both = format!("{number} rbps=1048576 wbps=max riops=max wiops=50");
    let (bytes, writings) = (format!("{number} 1048576"), format!("{number} 50"));
    assert_held(
        limits,
        &[
            (
                &["blkio.bfq.weight", "io.bfq.weight", "io.weight"],
                &["300", "default 300", "default 2930"],
            ),
            (&["blkio.throttle.read_bps_device", "io.max"], &[&bytes, &both]),
            (&["blkio.throttle.write_iops_device", "io.max"], &[&writings, &both]),
        ],
    );
}

/// A disk of this machine and its number.
fn block_device() -> Option<(PathBuf, String)> {
    let disks = fs::read_dir("/sys/block").ok()?.flatten();
    disks.map(|disk| disk.file_name()).find_map(|name| {
        let number = fs::read_to_string(Path::new("/sys/block").join(&name).join("dev")).ok()?;
        let path = Path::new("/dev").join(&name);
        path.exists().then(|| (path, number.trim().to_owned()))
    })
}

/// Asserts that all processes go where they may run, and that of limits that are refused in part
/// none holds.
fn assert_moved_and_put_back(bundle: &Bundle, sandbox: &dyn Sandbox, limits: Limits) {
    let adjust = sandbox.limits().unwrap();
    adjust.adjust(&limits).unwrap();
    let pid = sandbox.pid().unwrap().to_string();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    for pid in children.split_whitespace().chain([pid.as_str()]) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
    }
    let (memory, cpus) = (Some(48 << 20), Some("4000".to_owned()));
    adjust.adjust(&Limits { memory, pids: Some(5), cpuset_cpus: cpus, ..limits }).unwrap_err();
    assert_eq!(held(bundle, &["memory.limit_in_bytes", "memory.max"]), "67108864");
    assert_eq!(held(bundle, &["pids.max"]), "11");
    assert_eq!(held(bundle, &["cpuset.cpus"]), "0");
}

#[test]
fn a_running_guest_is_held_to_other_limits() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell("sleep 1000 & echo ready; wait");
    let limits = Limits { memory: Some(32 << 20), pids: Some(9), ..Limits::default() };
    if !limited(&mut bundle, limits.clone()) {
        return;
    }
    let mut running = start(&bundle);
    running.ready();
    let adjust = running.sandbox.limits().unwrap();
    // Both limits of memory rise, and a controller comes in.
    let more = Limits {
        memory: Some(64 << 20),
        pids: Some(11),
        cpu_shares: Some(512),
        ..Limits::default()
    };
    adjust.adjust(&more).unwrap();
    assert_eq!(held(&bundle, &["memory.limit_in_bytes", "memory.max"]), "67108864");
    let swap = held(&bundle, &["memory.memsw.limit_in_bytes", "memory.swap.max"]);
    assert!(["67108864", "0"].contains(&swap.as_str()), "{swap}");
    assert_eq!(held(&bundle, &["pids.max"]), "11");
    assert!(["512", "20"].contains(&held(&bundle, &["cpu.shares", "cpu.weight"]).as_str()));
    let one = Limits { cpuset_cpus: Some("0".to_owned()), ..more };
    if LinuxBackend.admit(&Bundle { limits: one.clone(), ..bundle.clone() }).is_empty() {
        assert_moved_and_put_back(&bundle, &*running.sandbox, one);
    }
    running.sandbox.signal(Signal::KILL).unwrap();
    let made = cgroups(&bundle);
    running.finish();
    assert!(made.iter().all(|path| !path.exists()));
}

/// What only version 1 has, and version 2 refuses.
#[test]
fn what_only_version_1_knows_is_held_or_refused() {
    let limits = Limits { memory_swappiness: Some(7), oom_kill_disable: true, ..Limits::default() };
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        let mut bundle = Machine::new().shell("true");
        bundle.limits = limits;
        assert_eq!(LinuxBackend::new().admit(&bundle).len(), 2);
        return;
    }
    assert_held(
        limits,
        &[
            (&["memory.swappiness"; 2], &["7"; 2]),
            (&["memory.oom_control"; 2], &["oom_kill_disable 1\nunder_oom 0\noom_kill 0"; 2]),
        ],
    );
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
fn a_process_that_was_killed_for_memory_is_told_of_whatever_came_after() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell("tail /dev/zero; exit 3");
    if limited(&mut bundle, Limits { memory: Some(16 << 20), ..Limits::default() }) {
        let ran = run(&bundle);
        assert!(ran.exit.oom_killed, "{ran:?}");
        assert_eq!(ran.exit.code(), 3);
        bundle.process = machine.shell("true").process;
        bundle.id.replace_range(..1, "f");
        assert!(!run(&bundle).exit.oom_killed);
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
    let limits = Limits {
        memory: Some(64 << 20),
        pids: Some(9),
        nano_cpus: Some(1 << 30),
        ..Limits::default()
    };
    if limited(&mut bundle, limits) {
        let running = start(&bundle);
        let paths = cgroups(&bundle);
        assert!(!paths.is_empty());
        assert!(paths.iter().all(|path| path.is_dir()));
        running.finish();
        assert!(paths.iter().all(|path| !path.exists()));
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
