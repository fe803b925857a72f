//! From `create` to `delete`.

use std::{fs, process::Stdio};

use serde_json::{Value, json};

use super::Bundle;

#[test]
fn a_container_is_created_started_and_deleted() {
    let Some(bundle) = Bundle::new("echo ran; exec sleep 1000") else { return };
    bundle.create("c");
    let state = bundle.state("c");
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], "c");
    assert_eq!(state["bundle"], *bundle.path().to_string_lossy());
    assert_eq!(fs::read_to_string(bundle.path().join("pid")).unwrap(), state["pid"].to_string());
    assert_eq!(bundle.output(), "", "nothing runs before it is started");
    assert!(bundle.fails(1, &["create", "c"]).contains("already exists"));

    bundle.ok(&["start", "c"]);
    assert_eq!(bundle.state("c")["status"], "running");
    assert!(bundle.fails(1, &["start", "c"]).contains("running"));
    assert!(bundle.fails(1, &["delete", "c"]).contains("not stopped"));
    assert!(bundle.ok(&["list"]).contains("running"));

    bundle.ok(&["kill", "c", "KILL"]);
    bundle.becomes("c", "stopped");
    assert_eq!(bundle.output(), "ran\n");
    assert_eq!(bundle.state("c")["pid"], 0);
    assert!(bundle.fails(1, &["kill", "c"]).contains("container not running"));
    assert!(bundle.fails(1, &["start", "c"]).contains("stopped"));
    bundle.ok(&["delete", "c"]);
    for verb in ["state", "start", "kill", "delete", "pause", "ps"] {
        assert!(bundle.fails(1, &[verb, "c"]).contains("does not exist"), "{verb}");
    }
    bundle.ok(&["delete", "--force", "c"]);
    assert!(bundle.cgroups().is_empty());
}

#[test]
fn of_many_who_start_it_at_once_one_does() {
    let Some(bundle) = Bundle::new("echo ran; exec sleep 1000") else { return };
    bundle.create("c");
    let starters: Vec<_> = (0..8)
        .map(|_| {
            let mut command = bundle.command(&["start", "c"]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let started = starters.into_iter().filter_map(|mut starter| starter.wait().ok());
    assert_eq!(started.filter(std::process::ExitStatus::success).count(), 1);
    assert_eq!(bundle.state("c")["status"], "running");
}

#[test]
fn one_that_was_never_started_is_deleted_as_it_is() {
    let Some(bundle) = Bundle::new("true") else { return };
    bundle.create("c");
    bundle.ok(&["delete", "c"]);
    assert_eq!(bundle.ok(&["list", "-q"]), "");
}

#[test]
fn one_that_waits_ends_when_it_is_asked_to() {
    let Some(bundle) = Bundle::new("true") else { return };
    bundle.create("c");
    bundle.ok(&["kill", "c", "TERM"]);
    bundle.becomes("c", "stopped");
}

#[test]
fn run_ends_as_its_program_does_and_leaves_nothing() {
    let Some(bundle) = Bundle::new("exit 3") else { return };
    assert_eq!(bundle.run(&["run", "c"]).code, 3);
    bundle.script("kill -TERM $$");
    // The first process of a pid namespace ignores what it does not handle.
    bundle.script("trap 'exit 9' TERM; kill -TERM $$; sleep 10");
    assert_eq!(bundle.run(&["run", "c"]).code, 9);
    assert_eq!(bundle.ok(&["list", "-q"]), "");
    bundle.script("true");
    bundle.ok(&["run", "--keep", "c"]);
    assert_eq!(bundle.state("c")["status"], "stopped");
}

#[test]
fn a_failure_is_told_and_logged_in_the_words_that_engines_look_for() {
    let Some(bundle) = Bundle::new("true") else { return };
    bundle.change(|config| config["process"]["args"] = json!(["no-such-program"]));
    let log = bundle.path().join("log");
    let args = ["--log", log.to_str().unwrap(), "--log-format", "json", "create", "c"];
    let told = bundle.fails(1, &args);
    assert!(told.contains("executable file not found in $PATH"), "{told}");
    let line: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!(line["level"], "error");
    assert!(line["msg"].as_str().unwrap().contains("executable file not found"));
    for (program, why) in
        [("/etc", "is a directory"), ("/etc/passwd", "permission denied"), ("/x", "no such file")]
    {
        bundle.change(|config| config["process"]["args"] = json!([program]));
        let told = bundle.refused();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn where_there_is_no_root_or_no_place_for_a_log_nothing_is_done() {
    let Some(bundle) = Bundle::new("true") else { return };
    let elsewhere = bundle.path().join("none");
    let program = env!("CARGO_BIN_EXE_silo");
    let args = ["runtime", "--root", elsewhere.to_str().unwrap(), "list"];
    let listed = std::process::Command::new(program).args(args).output().unwrap();
    let told = String::from_utf8_lossy(&listed.stderr);
    assert_eq!(listed.status.code(), Some(1), "{told}");
    assert!(told.starts_with("silo: error: cannot read"), "{told}");
    let log = elsewhere.join("log");
    let told = bundle.fails(1, &["--log", log.to_str().unwrap(), "run", "c"]);
    assert!(told.contains("cannot open the log"), "{told}");
}

#[test]
fn without_a_pid_namespace_of_its_own_all_of_it_is_killed() {
    let Some(bundle) = Bundle::new("sleep 1000 & sleep 1000 & wait") else { return };
    bundle.change(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
    });
    let count = || -> usize {
        let found: Vec<u32> = serde_json::from_str(&bundle.ok(&["ps", "-f", "json", "c"])).unwrap();
        found.len()
    };
    for first_is_gone in [false, true] {
        bundle.create("c");
        bundle.ok(&["start", "c"]);
        let start = std::time::Instant::now();
        while count() != 3 {
            assert!(start.elapsed() < std::time::Duration::from_secs(20));
        }
        if first_is_gone {
            let pid = fs::read_to_string(bundle.path().join("pid")).unwrap();
            let killed = std::process::Command::new("kill").args(["-9", &pid]).status();
            assert!(killed.unwrap().success());
            bundle.becomes("c", "stopped");
            assert_eq!(count(), 2);
        }
        bundle.ok(&["kill", "c", "KILL"]);
        while count() != 0 {
            assert!(start.elapsed() < std::time::Duration::from_secs(20));
        }
        assert!(bundle.fails(1, &["kill", "c", "KILL"]).contains("container not running"));
        bundle.ok(&["kill", "--all", "c", "KILL"]);
        bundle.ok(&["delete", "c"]);
    }
}

#[test]
fn a_poststart_hook_that_fails_ends_the_container() {
    let Some(bundle) = Bundle::new("exec sleep 1000") else { return };
    bundle.change(|config| {
        config["hooks"] = json!({ "poststart": [{ "path": "/bin/false", "args": ["false"] }] });
    });
    bundle.create("c");
    let told = bundle.fails(1, &["start", "c"]);
    assert!(told.contains("error running poststart hook #0"), "{told}");
    assert_eq!(bundle.ok(&["list", "-q"]), "");
}

#[test]
fn a_container_stands_still_and_goes_on() {
    let Some(bundle) = Bundle::new("while :; do sleep 0.01; done") else { return };
    bundle.create("c");
    bundle.ok(&["start", "c"]);
    bundle.ok(&["pause", "c"]);
    assert_eq!(bundle.state("c")["status"], "paused");
    assert!(bundle.fails(1, &["pause", "c"]).contains("paused"));
    assert!(bundle.fails(255, &["exec", "c", "true"]).contains("paused"));
    bundle.ok(&["resume", "c"]);
    assert_eq!(bundle.state("c")["status"], "running");
    assert!(bundle.fails(1, &["resume", "c"]).contains("running"));
    // One that stands still ends all the same.
    bundle.ok(&["pause", "c"]);
    bundle.ok(&["kill", "c", "9"]);
    bundle.becomes("c", "stopped");
}

#[test]
fn limits_are_those_of_the_configuration_then_of_update() {
    let Some(bundle) = Bundle::new("exec sleep 1000") else { return };
    bundle.change(|config| {
        config["linux"]["resources"] = json!({
            "memory": { "limit": 50 << 20 }, "pids": { "limit": 20 },
            "cpu": { "quota": 50_000, "period": 100_000 },
        });
    });
    bundle.create("c");
    let limit = || -> (String, String) {
        let read = |files: [&str; 2]| {
            let found = bundle.cgroups().into_iter().find_map(|directory| {
                files.iter().find_map(|file| fs::read_to_string(directory.join(file)).ok())
            });
            found.unwrap().trim().to_owned()
        };
        (read(["memory.limit_in_bytes", "memory.max"]), read(["pids.max", "pids.max"]))
    };
    let memory = |file: &str| {
        bundle.cgroups().into_iter().find_map(|it| fs::read_to_string(it.join(file)).ok())
    };
    let limited = memory("memory.limit_in_bytes").filter(|text| text.starts_with("5242"));
    assert!(limited.is_some() || limit().0 == (50 << 20).to_string());
    assert_eq!(limit().1, "20");
    bundle.ok(&["update", "--pids-limit", "30", "c"]);
    assert_eq!(limit().1, "30");
    let file = bundle.path().join("resources");
    fs::write(&file, r#"{"pids": {"limit": 40}}"#).unwrap();
    bundle.ok(&["update", "-r", "resources", "c"]);
    assert_eq!(limit().1, "40");
    fs::write(&file, r#"{"pids": 7}"#).unwrap();
    bundle.fails(1, &["update", "-r", "resources", "c"]);
    let event: Value = serde_json::from_str(&bundle.ok(&["events", "--stats", "c"])).unwrap();
    assert_eq!(event["data"]["pids"]["limit"], 40);
    assert_eq!(event["data"]["pids"]["current"], 1);
}

#[test]
fn processes_are_told_by_their_numbers_on_the_host() {
    let Some(bundle) = Bundle::new("sleep 1000 & exec sleep 1000") else { return };
    bundle.create("c");
    bundle.ok(&["start", "c"]);
    let count = || -> usize {
        let found: Vec<u32> = serde_json::from_str(&bundle.ok(&["ps", "-f", "json", "c"])).unwrap();
        found.len()
    };
    let start = std::time::Instant::now();
    while count() != 2 {
        assert!(start.elapsed() < std::time::Duration::from_secs(20));
    }
    let table = bundle.ok(&["ps", "c"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    bundle.ok(&["kill", "--all", "c", "KILL"]);
    bundle.becomes("c", "stopped");
}

#[test]
fn hooks_run_at_their_points_with_the_state() {
    let Some(bundle) = Bundle::new("echo program >>/log") else { return };
    let log = bundle.root().join("log");
    let hook = |name: &str, path: &str, log: &str| {
        let script = format!("s=$(cat); echo {name} ${{s##*status}} >>{log}");
        json!([{ "path": path, "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }])
    };
    let outside = |name| hook(name, "/bin/sh", log.to_str().unwrap());
    bundle.change(|config| {
        config["hooks"] = json!({
            "prestart": outside("prestart"), "createRuntime": outside("createRuntime"),
            "createContainer": outside("createContainer"),
            "startContainer": hook("startContainer", "/bin/sh", "/log"),
            "poststart": outside("poststart"), "poststop": outside("poststop"),
        });
    });
    bundle.create("c");
    bundle.ok(&["start", "c"]);
    bundle.becomes("c", "stopped");
    bundle.ok(&["delete", "c"]);
    let said = fs::read_to_string(&log).unwrap();
    let mut lines: Vec<_> = said.lines().map(|line| line.split(',').next().unwrap()).collect();
    // The program and what follows its start run side by side.
    lines[4..6].sort_unstable();
    assert_eq!(
        lines,
        [
            r#"prestart ":"creating""#,
            r#"createRuntime ":"creating""#,
            r#"createContainer ":"creating""#,
            r#"startContainer ":"created""#,
            r#"poststart ":"running""#,
            "program",
            r#"poststop ":"stopped""#,
        ]
    );
}

#[test]
fn a_hook_that_fails_or_takes_too_long_ends_the_container() {
    let Some(bundle) = Bundle::new("true") else { return };
    for stage in ["prestart", "createRuntime", "createContainer"] {
        for (script, timeout, why) in
            [("echo no >&2; exit 3", 10, "fail"), ("exec sleep 10", 1, "longer")]
        {
            bundle.change(|config| {
                config["hooks"] = json!({ stage: [{
                    "path": "/bin/sh", "args": ["sh", "-c", script], "timeout": timeout,
                    "env": ["PATH=/bin:/usr/bin"],
                }] });
            });
            let told = bundle.refused();
            assert!(told.contains(&format!("error running {stage} hook #0")), "{told}");
            assert!(told.contains(why) || told.contains("exit status: 3"), "{told}");
        }
    }
}
