//! What containers use, and what runs in them.

use std::io::{BufRead as _, BufReader};

use serde_json::Value;

use crate::support::{Silo, guests, transcript::Transcript};

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
    let (busy, idle) = (json(&silo, "busy"), json(&silo, "idle"));
    assert!(share(&busy["CPUPerc"]) > 0.0 && share(&idle["CPUPerc"]) < 1.0, "{busy} {idle}");
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
    let stats = json(&silo, "c");
    assert!(share(&stats["CPUPerc"]) > 0.0, "{stats}");
    assert!(stats["MemUsage"].as_str().unwrap().contains("KiB / "), "{stats}");
    assert_eq!(stats["PIDs"], "1");
    silo.ok(&["rm", "-f", "c"]);
    silo.assert_nothing_left(&[]);
}
