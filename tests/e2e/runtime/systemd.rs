//! Cgroups that systemd makes. Where there is no such host, that is what is told.

use std::{fs, path::Path, process::Command};

use serde_json::json;

use super::Bundle;

/// Whether systemd runs this machine, with cgroups of version 2 alone.
fn is_here() -> bool {
    Path::new("/run/systemd/system").exists()
        && Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

fn property(unit: &str, name: &str) -> String {
    let shown = Command::new("systemctl").args(["show", "--value", "-p", name, unit]).output();
    String::from_utf8_lossy(&shown.unwrap().stdout).trim().to_owned()
}

#[test]
fn a_container_is_a_scope_with_its_limits() {
    let Some(bundle) = Bundle::new("cat /proc/self/cgroup; exec sleep 1000") else { return };
    let name = bundle.name();
    let unit = format!("silo-{name}.scope");
    bundle.change(|config| {
        config["linux"]["cgroupsPath"] = json!(format!("silo-test.slice:silo:{name}"));
        config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
        config["linux"]["resources"]["pids"] = json!({ "limit": 20 });
        config["annotations"] = json!({ "org.systemd.property.TimeoutStopUSec": "uint64 5000000" });
    });
    if !is_here() {
        let told = bundle.fails(1, &["--systemd-cgroup", "create", "c"]);
        assert!(told.contains("systemd"), "{told}");
        assert_eq!(bundle.ok(&["list", "-q"]), "", "a container is left");
        return;
    }
    let nowhere = || fs::File::create(bundle.path().join("output")).unwrap();
    let mut create = bundle.command(&["--systemd-cgroup", "create", "--pid-file", "pid", "c"]);
    let created = create.stdout(nowhere()).stderr(nowhere()).status().unwrap();
    assert!(created.success(), "{}", bundle.output());
    let pid = fs::read_to_string(bundle.path().join("pid")).unwrap();
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = format!("/silo.slice/silo-test.slice/{unit}");
    assert_eq!(cgroup.trim(), format!("0::{path}"));
    let directory = Path::new("/sys/fs/cgroup").join(&path[1..]);
    let limit = |file: &str| fs::read_to_string(directory.join(file)).unwrap().trim().to_owned();
    assert_eq!((limit("memory.max"), limit("pids.max")), ((64 << 20).to_string(), "20".to_owned()));
    assert_eq!(property(&unit, "MemoryMax"), (64 << 20).to_string());
    assert_eq!(property(&unit, "TimeoutStopUSec"), "5s");

    bundle.ok(&["start", "c"]);
    bundle.ok(&["update", "--pids-limit", "30", "c"]);
    assert_eq!(
        (limit("pids.max"), property(&unit, "TasksMax")),
        ("30".to_owned(), "30".to_owned())
    );
    // What systemd knows of, it does not undo.
    assert!(Command::new("systemctl").arg("daemon-reload").status().unwrap().success());
    assert_eq!(limit("pids.max"), "30");
    assert_eq!(bundle.ok(&["exec", "c", "cat", "/proc/self/cgroup"]), "0::/");
    bundle.ok(&["pause", "c"]);
    assert_eq!(bundle.state("c")["status"], "paused");
    // Another of that name is not made, and this one stays.
    let told = bundle.fails(1, &["--systemd-cgroup", "create", "d"]);
    assert!(told.contains("not empty") || told.contains("frozen"), "{told}");
    bundle.ok(&["delete", "--force", "c"]);
    assert!(!directory.exists());
    assert_eq!(property(&unit, "LoadState"), "not-found");
}

#[test]
fn a_path_that_names_no_scope_is_refused() {
    let Some(bundle) = Bundle::new("true") else { return };
    if is_here() {
        let told = bundle.fails(1, &["--systemd-cgroup", "create", "c"]);
        assert!(told.contains("slice:prefix:name"), "{told}");
    }
}
