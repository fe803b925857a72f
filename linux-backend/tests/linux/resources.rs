//! Limits of each process and settings of the container's kernel.

use std::fs;

use silo_isolation::{IsolationBackend as _, Limits, Network, Signal};
use silo_linux::LinuxBackend;

use crate::machine::{Machine, is_able, output, pipes, process, read, start};

/// This process's own hard limit of descriptors.
fn most_files() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(4).unwrap().parse().unwrap_or(u64::MAX)
}

#[test]
fn each_process_has_the_limits_that_it_is_given() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let show = "ulimit -n; ulimit -Hn; ulimit -c; ulimit -Hc; ulimit -Hs";
    let out = output(&machine.shell(show));
    let hard = most_files().min(524_288).to_string();
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[..4], ["1024", hard.as_str(), "0", "0"]);
    let limits = ["nofile=50:60", "core=512:1024", "stack=65536:1048576"];
    let ulimits = limits.map(|text| text.parse().unwrap()).to_vec();
    // Blocks of 512 bytes and of 1024.
    assert_both(&Limits { ulimits, ..Limits::default() }, show, "50\n60\n1\n2\n1024\n");
}

#[test]
fn few_descriptors_are_enough_for_a_container_to_start() {
    if !is_able() {
        return;
    }
    let ulimits = vec!["nofile=3:3".parse().unwrap()];
    assert_both(&Limits { ulimits, ..Limits::default() }, "ulimit -n", "3\n");
}

/// Asserts that a guest within `limits` prints this, as its first process and as one that joins.
fn assert_both(limits: &Limits, line: &str, expected: &str) {
    let machine = Machine::new();
    let mut bundle = machine.shell(line);
    bundle.limits = limits.clone();
    assert_eq!(output(&bundle), expected);
    let mut bundle = machine.shell("echo ready; sleep 1000");
    bundle.limits = limits.clone();
    let mut running = start(&bundle);
    running.ready();
    let (stdio, out, _err) = pipes();
    let exec = running.sandbox.exec().unwrap();
    exec.exec(&process(&["sh", "-c", line]), stdio).unwrap().wait().unwrap();
    assert_eq!(read(out).join().unwrap(), expected);
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();
}

#[test]
fn processes_are_killed_as_soon_as_they_are_said_to() {
    if !is_able() {
        return;
    }
    let limits = Limits { oom_score_adj: Some(321), ..Limits::default() };
    assert_both(&limits, "cat /proc/self/oom_score_adj", "321\n");
}

#[test]
fn the_kernels_settings_are_the_containers_own() {
    if !is_able() {
        return;
    }
    let setting = "/proc/sys/net/ipv4/ip_default_ttl";
    let host = fs::read_to_string(setting).unwrap();
    let machine = Machine::new();
    let mut bundle = machine.shell(&format!("cat {setting} /proc/sys/kernel/msgmni"));
    let settings = [("net.ipv4.ip_default_ttl", "33"), ("kernel.msgmni", "77")];
    bundle.sysctls = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(output(&bundle), "33\n77\n");
    assert_eq!(fs::read_to_string(setting).unwrap(), host);
    bundle.network = Network::Host;
    bundle.sysctls.insert("vm.swappiness".to_owned(), "1".to_owned());
    let refused: Vec<_> =
        LinuxBackend.admit(&bundle).into_iter().map(|refusal| refusal.what).collect();
    assert_eq!(refused, ["--sysctl net.ipv4.ip_default_ttl", "--sysctl vm.swappiness"]);
}

#[test]
fn shared_memory_is_as_large_as_asked_for() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell("echo $(($(stat -f -c '%b*%S' /dev/shm)))");
    assert_eq!(output(&bundle), "67108864\n");
    bundle.limits.shm_size = Some(1 << 20);
    assert_eq!(output(&bundle), "1048576\n");
}
