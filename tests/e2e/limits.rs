//! Docker's flags for what containers may use up: what is held, told and refused.

use std::fs;

use crate::support::{
    Silo,
    host::{control_groups, is_root},
};

/// Where limits are held by cgroups, as the tests' own machine has them.
fn silo() -> Option<Silo> {
    if is_root() { Silo::with_busybox() } else { None }
}

#[test]
fn limits_are_told_by_dockers_names() {
    let Some(silo) = silo() else { return };
    let limits = [
        ["--memory", "64m"],
        ["--memory-reservation", "32m"],
        ["--memory-swap", "-1"],
        ["--cpu-shares", "512"],
        ["--cpu-period", "50000"],
        ["--cpu-quota", "25000"],
        ["--pids-limit", "50"],
    ];
    let mut args = vec!["run", "--name", "c"];
    args.extend(limits.as_flattened());
    args.extend(["busybox", "true"]);
    silo.ok(&args);
    let template = "{{with .HostConfig}}{{.Memory}} {{.MemoryReservation}} {{.MemorySwap}} {{.CpuShares}} \
                    {{.CpuPeriod}} {{.CpuQuota}} {{.PidsLimit}}{{end}}";
    assert_eq!(silo.inspect("c", template), "67108864 33554432 -1 512 50000 25000 50");
    silo.ok(&["rm", "c"]);
    // systemd gives this controller to nobody unless asked to.
    let args = ["run", "--name", "c", "--cpuset-cpus", "0", "--cpuset-mems", "0", "busybox"];
    let list = silo.run(&[&args[..], &["grep", "Cpus_allowed_list", "/proc/self/status"]].concat());
    if !list.stderr.contains("`cpuset` is not available") {
        assert_eq!(list.stdout, "Cpus_allowed_list:\t0\n", "{list:?}");
        let template = "{{.HostConfig.CpusetCpus}} {{.HostConfig.CpusetMems}}";
        assert_eq!(silo.inspect("c", template), "0 0");
        silo.ok(&["rm", "c"]);
    }
    silo.assert_nothing_left(&[]);
}

#[test]
fn limits_that_contradict_are_refused_at_once() {
    let Some(silo) = silo() else { return };
    let mut args = vec!["create", "--memory", "8m", "--memory-swap", "4m"];
    args.extend([
        "--cpus",
        "1",
        "--cpu-quota",
        "5000",
        "-c",
        "1",
        "--blkio-weight",
        "5",
        "busybox",
    ]);
    let said = silo.fails(1, &args);
    for option in ["--memory-swap", "--cpus", "--cpu-shares", "--blkio-weight"] {
        assert!(said.contains(&format!("{option}: ")), "{option}: {said}");
    }
    let said = silo.fails(1, &["create", "--device-read-bps", "/dev/null:1m", "busybox"]);
    assert!(said.contains("/dev/null is no block device"), "{said}");
    silo.assert_nothing_left(&[]);
}

#[test]
fn a_wasm_guest_has_no_limits_of_cgroups() {
    let silo = Silo::new();
    let mut args = vec!["create", "--platform", "wasi/wasm", "--memory-reservation", "1m"];
    let asked = ["--cpu-shares", "--cpuset-cpus", "--oom-kill-disable", "--ulimit", "--shm-size"];
    args.extend(["--cpu-shares", "2", "--cpuset-cpus", "0", "--oom-kill-disable"]);
    args.extend(["--ulimit", "core=0", "--shm-size", "1m", "--sysctl", "kernel.sem=1"]);
    args.extend(["--init", "hello"]);
    let said = silo.fails(1, &args);
    for option in asked.into_iter().chain(["--memory-reservation", "--sysctl kernel.sem", "--init"])
    {
        assert!(said.contains(&format!("{option}: ")), "{option}: {said}");
    }
}

#[test]
fn limits_of_processes_and_settings_of_the_kernel_are_those_asked_for() {
    let Some(silo) = Silo::with_busybox() else { return };
    let mut args = vec!["run", "--name", "c", "--ulimit", "nofile=50:60", "--ulimit", "core=0"];
    args.extend(["--oom-score-adj", "500", "--sysctl", "net.ipv4.ip_default_ttl=33"]);
    args.extend(["--shm-size", "1m", "busybox", "sh", "-c"]);
    args.push(
        "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_default_ttl; \
         df -k /dev/shm | tail -n 1 | awk '{print $2}'",
    );
    assert_eq!(silo.ok(&args), "50\n60\n500\n33\n1024");
    let template = "{{with .HostConfig}}{{json .Ulimits}} {{.OomScoreAdj}} {{json .Sysctls}} {{.ShmSize}}{{end}}";
    let ulimits = r#"[{"Hard":60,"Name":"nofile","Soft":50},{"Hard":0,"Name":"core","Soft":0}]"#;
    let sysctls = r#"{"net.ipv4.ip_default_ttl":"33"}"#;
    assert_eq!(silo.inspect("c", template), format!("{ulimits} 500 {sysctls} 1048576"));
    silo.ok(&["rm", "c"]);
    let mut args = vec!["create", "--network", "host", "--sysctl", "net.core.somaxconn=1"];
    args.extend(["--sysctl", "kernel.panic=1", "--ulimit", "nofile=1:99999999999", "busybox"]);
    let said = silo.fails(1, &args);
    for option in ["--sysctl net.core.somaxconn", "--sysctl kernel.panic", "--ulimit nofile"] {
        assert!(said.contains(option), "{option}: {said}");
    }
    assert!(silo.fails(125, &["create", "--ulimit", "files=1", "busybox"]).contains("nofile"));
    silo.assert_nothing_left(&[]);
}

/// What the first of `files` holds that a cgroup of the container `id` has.
fn held(id: &str, files: &[&str]) -> String {
    let groups = control_groups().into_iter().filter(|path| path.ends_with(id));
    let mut files = groups.flat_map(|path| files.iter().map(move |file| path.join(file)));
    let found = files.find_map(|file| fs::read_to_string(file).ok());
    found.expect("a cgroup of the container").trim_end().to_owned()
}

#[test]
fn limits_are_changed_while_a_container_runs_and_when_it_does_not() {
    let Some(silo) = silo() else { return };
    let memory = ["memory.limit_in_bytes", "memory.max"];
    let id = silo.ok(&["run", "-d", "--name", "c", "--memory", "32m", "busybox", "sleep", "1000"]);
    let mut args = vec!["update", "-m", "64m", "--pids-limit", "40", "-c", "512"];
    args.extend(["--memory-reservation", "16m", "c"]);
    assert_eq!(silo.ok(&args), "c");
    assert_eq!(held(&id, &memory), "67108864");
    assert_eq!(held(&id, &["pids.max"]), "40");
    assert_eq!(held(&id, &["memory.soft_limit_in_bytes", "memory.low"]), "16777216");
    let template = "{{with .HostConfig}}{{.Memory}} {{.PidsLimit}} {{.CpuShares}} {{.MemoryReservation}}{{end}}";
    assert_eq!(silo.inspect("c", template), "67108864 40 512 16777216");
    let said = silo.run(&["update", "--memory-swap", "1m", "--blkio-weight", "1", "c", "nobody"]);
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    for part in ["--memory-swap: ", "--blkio-weight: ", "no such container: nobody"] {
        assert!(said.stderr.contains(part), "{part}: {said:?}");
    }
    assert_eq!(silo.inspect("c", template), "67108864 40 512 16777216");
    silo.ok(&["stop", "-t", "0", "c"]);
    assert_eq!(silo.ok(&["update", "--memory", "48m", "c"]), "c");
    silo.ok(&["start", "c"]);
    assert_eq!(silo.inspect("c", template), "50331648 40 512 16777216");
    assert_eq!(held(&id, &memory), "50331648");
    silo.ok(&["rm", "-f", "c"]);
    silo.assert_nothing_left(&[id]);
}

#[test]
fn who_changes_nothing_is_told() {
    let silo = Silo::new();
    assert!(silo.fails(1, &["update", "c"]).contains("no limit is given"));
    silo.ok(&["create", "--platform", "wasi/wasm", "--name", "c", "hello"]);
    assert_eq!(silo.ok(&["update", "--memory", "64m", "c"]), "c");
    assert_eq!(silo.inspect("c", "{{.HostConfig.Memory}}"), "67108864");
    assert!(silo.fails(1, &["update", "--cpu-shares", "5", "c"]).contains("--cpu-shares: "));
}

#[test]
fn an_init_process_passes_signals_on_and_has_the_terminal_given_away() {
    let Some(silo) = silo() else { return };
    silo.ok(&["run", "-d", "--init", "--name", "c", "busybox", "sleep", "1000"]);
    assert_eq!(silo.inspect("c", "{{.HostConfig.Init}}"), "true");
    assert_eq!(silo.ok(&["exec", "c", "cat", "/proc/1/comm"]), "init");
    silo.ok(&["stop", "-t", "60", "c"]);
    assert_eq!(silo.inspect("c", "{{.State.ExitCode}}"), "143");
    silo.ok(&["rm", "c"]);
    let run = silo.command(&[
        "run",
        "--rm",
        "--init",
        "-it",
        "busybox",
        "sh",
        "-c",
        "read a; echo $$ $a",
    ]);
    let words = std::iter::once(run.get_program()).chain(run.get_args());
    let line: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut child = std::process::Command::new("script")
        .args(["-qec", &line.join(" "), "/dev/null"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("script starts");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"typed\n").unwrap();
    let said = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("2 typed"), "{said}");
    silo.assert_nothing_left(&[]);
}
