//! What containers use, and what runs in them.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
};

use serde_json::Value;

use crate::support::{Silo, data, guests, host, transcript::Transcript, wait_until};

fn json(silo: &Silo, name: &str) -> Value {
    let line = silo.ok(&["stats", "--no-stream", "--format", "json", name]);
    serde_json::from_str(&line).unwrap()
}

/// A share in percent as a number.
fn share(value: &Value) -> f64 {
    value.as_str().unwrap().trim_end_matches('%').parse().unwrap()
}

#[test]
fn stats_tell_what_containers_use_in_dockers_columns() {
    let Some(silo) = Silo::with_busybox() else { return };
    let spin = "while :; do :; done";
    silo.ok(&["run", "-d", "--name", "busy", "-m", "64m", "busybox", "sh", "-c", spin]);
    silo.ok(&["run", "-d", "--name", "idle", "--network", "host", "busybox", "sleep", "1000"]);
    silo.ok(&["create", "--name", "made", "busybox", "true"]);
    let listed = silo.ok(&["stats", "--no-stream"]);
    let (heading, rows) = listed.split_once('\n').unwrap();
    let columns: Vec<&str> =
        heading.split("   ").map(str::trim).filter(|column| !column.is_empty()).collect();
    let expected = [
        "CONTAINER ID",
        "NAME",
        "CPU %",
        "MEM USAGE / LIMIT",
        "MEM %",
        "NET I/O",
        "BLOCK I/O",
        "PIDS",
    ];
    assert_eq!(columns, expected);
    assert_eq!(rows.lines().count(), 2, "{listed}");
    wait_until("it to be given a processor", || share(&json(&silo, "busy")["CPUPerc"]) > 0.0);
    let (busy, idle) = (json(&silo, "busy"), json(&silo, "idle"));
    assert!(share(&idle["CPUPerc"]) < 1.0, "{idle}");
    let usage = busy["MemUsage"].as_str().unwrap();
    assert!(usage.ends_with(" / 64MiB") && !usage.starts_with("0B"), "{usage}");
    assert!(share(&busy["MemPerc"]) > 0.0, "{busy}");
    assert!(idle["MemUsage"].as_str().unwrap().contains("iB / "), "{idle}");
    assert_eq!((&busy["PIDs"], &busy["NetIO"]), (&"1".into(), &"0B / 0B".into()));
    assert_eq!((&idle["NetIO"], &idle["BlockIO"]), (&"--".into(), &"--".into()));
    silo.ok(&["pause", "busy"]);
    assert_eq!(json(&silo, "busy")["CPUPerc"], "0.00%");
    Transcript::of(&silo)
        .run(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "idle", "busy"])
        .run(&["stats", "--no-stream", "made"])
        .run(&["stats", "--no-stream", "-a", "--format", "table {{.Name}}\t{{.PIDs}}\t{{.NetIO}}"])
        .run(&["stats", "--no-stream", "made", "nonexistent"])
        .run(&["rm", "-f", "busy", "idle", "made"])
        .run(&["stats", "--no-stream"])
        .assert("stats");
    silo.assert_nothing_left(&[]);
}

#[test]
fn stats_go_on_until_what_was_named_is_gone() {
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&["run", "-d", "--name", "c", "busybox", "sleep", "1000"]);
    let mut stats = silo.spawn(&["stats", "--format", "{{.Name}}", "c"]);
    let mut lines = BufReader::new(stats.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        assert_eq!(lines.next().unwrap().unwrap(), "c");
    }
    silo.ok(&["rm", "-f", "c"]);
    assert!(lines.all(|line| line.unwrap() == "c"));
    assert_eq!(stats.wait().unwrap().code(), Some(0));
    silo.assert_nothing_left(&[]);
}

#[test]
fn a_wasm_program_uses_memory_and_processor_time_too() {
    let silo = guests::silo_with_module("(loop $on (br $on))");
    silo.ok(&["run", "-d", "--name", "c", "guest"]);
    wait_until("it to be given a processor", || share(&json(&silo, "c")["CPUPerc"]) > 0.0);
    let stats = json(&silo, "c");
    assert!(stats["MemUsage"].as_str().unwrap().contains("KiB / "), "{stats}");
    assert_eq!(stats["PIDs"], "1");
    silo.ok(&["rm", "-f", "c"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn top_tells_the_processes_of_a_container_as_the_host_has_them() {
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&["run", "-d", "--name", "c", "busybox", "sleep", "1000"]);
    silo.ok(&["exec", "-d", "c", "sleep", "999"]);
    let listed = || silo.ok(&["top", "c"]);
    wait_until("both to run their programs", || listed().matches("sleep").count() == 2);
    let listed = listed();
    let rows: Vec<Vec<&str>> =
        listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    let first = rows.iter().find(|row| row[7..] == ["sleep", "1000"]).unwrap();
    let pid = silo.inspect("c", "{{.State.Pid}}");
    let owner = match fs::metadata(format!("/proc/{pid}")).unwrap().uid() {
        0 => "root".to_owned(),
        nobodys => nobodys.to_string(),
    };
    assert_eq!((first[0], first[1]), (owner.as_str(), pid.as_str()));
    assert_eq!((first[5], first[6]), ("?", "00:00:00"));
    silo.ok(&["pause", "c"]);
    assert_eq!(silo.ok(&["top", "c"]).lines().count(), 3);
    silo.ok(&["rm", "-f", "c"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn without_a_cgroup_a_container_has_processes_and_cannot_be_paused() {
    let Some(archive) = data("busybox/docker-archive.tar") else { return };
    if !host::needs_root() {
        return;
    }
    let silo = Silo::unprivileged();
    let archive = silo.file("busybox.tar", fs::read(archive).unwrap());
    silo.ok(&["load", "-q", "-i", host::text(&archive)]);
    silo.ok(&["run", "-d", "--name", "c", "busybox:archive", "sleep", "1000"]);
    silo.ok(&["exec", "-d", "c", "sleep", "999"]);
    wait_until("both to run their programs", || {
        silo.ok(&["top", "c"]).matches("sleep").count() == 2
    });
    assert_eq!(silo.ok(&["top", "c"]).lines().count(), 3);
    Transcript::of(&silo)
        .run(&["pause", "c"])
        .run(&["ps", "--format", "{{.Names}} {{.State}}"])
        .run(&["rm", "-f", "c"])
        .assert("pause-without-cgroup");
    silo.assert_nothing_left(&[]);
}

#[test]
fn top_hands_options_to_the_hosts_ps() {
    if std::process::Command::new("ps").output().is_err() {
        host::leave_out("there is no ps");
        return;
    }
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&["run", "-d", "--name", "c", "busybox", "sleep", "1000"]);
    let pid = silo.inspect("c", "{{.State.Pid}}");
    for options in [&["-o", "pid,args"][..], &["-eo", "pid,args"], &["f", "-eo", "pid,args"]] {
        let listed = silo.ok(&[&["top", "c"], options].concat());
        // A forest has branches.
        let words: Vec<&str> = listed.split_whitespace().filter(|&word| word != r"\_").collect();
        assert_eq!(words, ["PID", "COMMAND", &pid, "sleep", "1000"], "{options:?}");
    }
    silo.ok(&["create", "--name", "made", "busybox", "true"]);
    let wrong = silo.fails(1, &["top", "c", "--nonsense"]);
    assert!(wrong.starts_with("silo: ps: "), "{wrong}");
    Transcript::of(&silo)
        .run(&["top", "c", "-o", "args"])
        .run(&["top", "made"])
        .run(&["top", "nonexistent"])
        .run(&["rm", "-f", "c", "made"])
        .assert("top-refused");
    silo.assert_nothing_left(&[]);
}

#[test]
fn a_wasm_program_has_no_processes_of_the_hosts() {
    let silo = guests::silo_with_module("(loop $on (br $on))");
    silo.ok(&["run", "-d", "--name", "c", "guest"]);
    let refused = silo.fails(1, &["top", "c"]);
    assert_eq!(refused, "silo: the wasi backend cannot tell a container's processes\n");
    silo.ok(&["rm", "-f", "c"]);
}
