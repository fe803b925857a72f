//! The verbs, and what they print, against what Docker prints.

use std::{fs, thread, time::Duration};

use crate::support::{Silo, host::text, transcript::Transcript, wait_until};

#[test]
fn listings_have_dockers_columns_and_options() {
    let Some(silo) = Silo::with_busybox() else { return };
    let id = silo.ok(&["create", "--name", "made", "busybox", "true"]);
    silo.run(&["run", "--name", "failed", "busybox", "sh", "-c", "exit 3"]);
    silo.ok(&[
        "run",
        "-d",
        "--name",
        "busy",
        "busybox",
        "sh",
        "-c",
        "echo a long command; sleep 1000",
    ]);
    assert_eq!(id.len(), 64);
    assert_eq!(silo.ok(&["ps", "-aq", "--filter", "name=made"]), id[..12]);
    assert_eq!(silo.ok(&["ps", "-aq", "--no-trunc", "--filter", "name=made"]), id);
    let listed = silo.ok(&["ps"]);
    let columns: Vec<&str> = listed.lines().next().unwrap().split("   ").collect();
    let columns: Vec<&str> =
        columns.into_iter().map(str::trim).filter(|column| !column.is_empty()).collect();
    assert_eq!(
        columns,
        ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    );
    let row = listed.lines().nth(1).unwrap();
    assert!(row.contains(r#""sh -c 'echo a long …""#) && row.contains("Up "), "{row}");
    let line = silo.ok(&["ps", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&json["Names"], &json["State"]), (&"busy".into(), &"running".into()));
    Transcript::of(&silo)
        .run(&["ps", "-a", "--format", "table {{.Names}}\t{{.Command}}\t{{.State}}"])
        .run(&["ps", "-a", "--filter", "status=exited", "--format", "{{.Names}} {{.State}}"])
        .run(&["ps", "-a", "--filter", "exited=3", "--format", "{{.Names}}"])
        .run(&["ps", "-a", "--filter", "ancestor=busybox", "--format", "{{.Names}}"])
        .run(&["ps", "--no-trunc", "--format", "{{.Command}}"])
        .run(&["ps", "-l", "--format", "{{.Names}}"])
        .run(&["inspect", "-f", "{{.State.ExitCode}} {{.State.Status}} {{.Name}}", "failed"])
        .run(&["images", "--format", "{{.Repository}}:{{.Tag}}"])
        .run(&[
            "images",
            "busybox:latest",
            "--format",
            "table {{.Repository}}\t{{.Tag}}\t{{.Platforms}}",
        ])
        .run(&["rm", "-f", "busy", "made", "failed"])
        .assert("listings");
    silo.assert_nothing_left(&[]);
}

#[test]
fn logs_are_whole_tailed_dated_and_followed() {
    let Some(silo) = Silo::with_busybox() else { return };
    let script = "echo one; echo two >&2; sleep 2; echo three";
    silo.ok(&["run", "-d", "--name", "c", "busybox", "sh", "-c", script]);
    let followed = silo.run(&["logs", "-f", "c"]);
    assert_eq!((followed.stdout.as_str(), followed.stderr.as_str()), ("one\nthree\n", "two\n"));
    assert_eq!(silo.ok(&["logs", "--tail", "1", "c"]), "three");
    assert_eq!(silo.ok(&["logs", "-n", "0", "c"]), "");
    assert_eq!(silo.ok(&["logs", "--since", "1h", "c"]), "one\nthree");
    assert_eq!(silo.ok(&["logs", "--since", "2099-01-01T00:00:00Z", "c"]), "");
    let dated = silo.ok(&["logs", "-t", "c"]);
    assert!(dated.lines().all(|line| line.starts_with("20") && line.contains("Z ")), "{dated}");
    silo.ok(&["rm", "c"]);
}

#[test]
fn containers_stop_by_their_signal_and_start_again() {
    let Some(silo) = Silo::with_busybox() else { return };
    let script = "trap 'echo asked; exit 5' TERM; while :; do sleep 0.1; done";
    silo.ok(&["run", "-d", "--name", "polite", "busybox", "sh", "-c", script]);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(silo.ok(&["stop", "polite"]), "polite");
    assert_eq!(silo.ok(&["wait", "polite"]), "5");
    assert_eq!(silo.ok(&["logs", "polite"]), "asked");
    assert_eq!(silo.ok(&["start", "polite"]), "polite");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(silo.ok(&["kill", "-s", "TERM", "polite"]), "polite");
    assert_eq!(silo.ok(&["wait", "polite"]), "5");
    silo.ok(&["run", "-d", "--name", "rude", "busybox", "sleep", "1000"]);
    assert_eq!(silo.ok(&["stop", "-t", "0", "rude"]), "rude");
    assert_eq!(silo.inspect("rude", "{{.State.ExitCode}}"), "137");
    silo.ok(&["create", "-i", "--name", "cat", "busybox", "cat"]);
    let ended = silo.with_input(&["start", "-a", "-i", "cat"], b"typed\n");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "typed\n"));
    silo.ok(&["rm", "polite", "rude", "cat"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn containers_are_restarted_those_too_that_go_when_they_end() {
    let Some(silo) = Silo::with_busybox() else { return };
    let script =
        "trap 'echo asked; exit 5' TERM; trap 'exit 6' HUP; echo up; while :; do sleep 0.1; done";
    let ups = |count| {
        wait_until("it to be up again", || {
            silo.run(&["logs", "c"]).stdout.matches("up").count() == count
        });
    };
    silo.ok(&["run", "-d", "--rm", "--name", "c", "busybox", "sh", "-c", script]);
    ups(1);
    let id = silo.inspect("c", "{{.Id}}");
    assert_eq!(silo.ok(&["restart", "-t", "-1", "c"]), "c");
    ups(2);
    silo.ok(&["restart", "-s", "HUP", "--time", "1000", "c"]);
    ups(3);
    silo.ok(&["pause", "c"]);
    silo.ok(&["restart", "-t", "1000", "c"]);
    ups(4);
    assert_eq!(silo.ok(&["logs", "c"]), "up\nasked\nup\nup\nasked\nup");
    assert_eq!(silo.inspect("c", "{{.Id}} {{.State.Status}}"), format!("{id} running"));
    silo.ok(&["stop", "-s", "HUP", "-t", "1000", "c"]);
    silo.ok(&["create", "--name", "new", "busybox", "sleep", "1000"]);
    silo.ok(&["restart", "new"]);
    assert_eq!(silo.inspect("new", "{{.State.Status}}"), "running");
    Transcript::of(&silo)
        .run(&["restart", "c", "nonexistent"])
        .run(&["restart", "-t", "soon", "new"])
        .run(&["restart", "-t", "0", "new"])
        .run(&["rm", "-f", "new"])
        .assert("restarted");
    silo.assert_nothing_left(&[id]);
}

#[test]
fn containers_are_renamed_whether_they_run_or_not() {
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&["create", "--name", "made", "busybox", "true"]);
    silo.ok(&["run", "-d", "--rm", "--name", "running", "busybox", "sleep", "1000"]);
    Transcript::of(&silo)
        .run(&["rename", "made", "one"])
        .run(&["rename", "running", "two"])
        .run(&["rename", "running", "three"])
        .run(&["rename", "one", "two"])
        .run(&["rename", "one", "one"])
        .run(&["rename", "one", "-one"])
        .run(&["rename", "one", ""])
        .run(&["ps", "-a", "--format", "{{.Names}} {{.State}}"])
        .run(&["rename", "two", "made"])
        .run(&["inspect", "-f", "{{.Name}}", "made"])
        .run(&["kill", "made"])
        .run(&["ps", "-a", "--format", "{{.Names}} {{.State}}"])
        .run(&["rm", "one"])
        .assert("renamed");
    silo.assert_nothing_left(&[]);
}

#[test]
fn the_options_of_run_do_what_dockers_do() {
    let Some(silo) = Silo::with_busybox() else { return };
    let run = |options: &[&str], script: &str| {
        let mut args = vec!["run", "--rm"];
        args.extend(options);
        args.extend(["busybox", "sh", "-c", script]);
        silo.ok(&args)
    };
    let file = silo.file("env", "# comment\nA=of the file\nB=2\n");
    let env = ["--env-file", text(&file), "-e", "B=3", "-e", "C=x=y"];
    assert_eq!(run(&env, "echo $A $B $C"), "of the file 3 x=y");
    assert_eq!(run(&["-w", "/usr/bin"], "pwd"), "/usr/bin");
    assert_eq!(run(&["--hostname", "box"], "hostname"), "box");
    assert_eq!(run(&["--tmpfs", "/t:size=64k"], "df -k /t | tail -n 1 | awk '{print $2}'"), "64");
    assert_eq!(run(&["--read-only"], "echo x 2>/dev/null > /x || echo refused"), "refused");
    assert_eq!(silo.ok(&["run", "--rm", "--entrypoint", "echo", "busybox", "a", "b"]), "a b");
    let folder = silo.home().join("shared");
    let volume = format!("{}:/data", text(&folder));
    run(&["-v", &volume], "echo from the guest > /data/file");
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "from the guest\n");
    let read_only = format!("{volume}:ro");
    let script = "cat /data/file; echo x 2>/dev/null > /data/x || echo refused";
    assert_eq!(run(&["-v", &read_only], script), "from the guest\nrefused");
    assert_eq!(run(&["--pull", "never"], "echo here"), "here");
    let id = silo.home().join("id");
    run(&["--cidfile", text(&id)], "true");
    assert_eq!(fs::read_to_string(id).unwrap().len(), 64);
    silo.assert_nothing_left(&[]);
}

#[test]
fn exec_runs_beside_the_first_program() {
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&["run", "-d", "--name", "c", "-e", "A=1", "busybox", "sleep", "1000"]);
    assert_eq!(
        silo.ok(&["exec", "-e", "B=2", "-w", "/tmp", "c", "sh", "-c", "echo $A $B $PWD"]),
        "1 2 /tmp"
    );
    assert_eq!(silo.run(&["exec", "c", "sh", "-c", "exit 7"]).code, 7);
    assert_eq!(silo.with_input(&["exec", "-i", "c", "cat"], b"typed").stdout, "typed");
    silo.fails(127, &["exec", "c", "nonexistent"]);
    silo.ok(&["rm", "-f", "c"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn a_terminal_is_a_terminal() {
    let Some(silo) = Silo::with_busybox() else { return };
    let run =
        silo.command(&["run", "--rm", "-it", "busybox", "sh", "-c", "test -t 0 && tty; stty size"]);
    let line: Vec<&str> = std::iter::once(run.get_program())
        .chain(run.get_args())
        .map(|word| word.to_str().unwrap())
        .collect();
    let line = line.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let output = std::process::Command::new("script")
        .args(["-qec", &format!("stty rows 33 cols 99; {line}"), "/dev/null"])
        .output()
        .expect("script starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("/dev/pts/0") || said.contains("/dev/console"), "{said}");
    assert!(said.contains("33 99"), "{said}");
    silo.assert_nothing_left(&[]);
}

#[test]
fn an_interrupt_reaches_the_guest() {
    let Some(silo) = Silo::with_busybox() else { return };
    let script = "trap 'exit 9' INT; echo ready; while :; do sleep 0.1; done";
    let mut child = silo.spawn(&["run", "--name", "c", "busybox", "sh", "-c", script]);
    wait_until("the guest to be ready", || silo.run(&["logs", "c"]).stdout == "ready\n");
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    silo.ok(&["rm", "c"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn images_are_imported_with_changes_tagged_and_removed() {
    let Some(archive) = crate::support::data("busybox/rootfs.tar") else { return };
    let silo = Silo::new();
    let changes = ["--change", "ENTRYPOINT [\"echo\", \"from\"]", "--change", "CMD [\"import\"]"];
    let mut import = vec!["import"];
    import.extend(changes);
    import.extend([text(&archive), "mine"]);
    silo.ok(&import);
    assert_eq!(silo.ok(&["run", "--rm", "mine"]), "from import");
    silo.ok(&["tag", "mine", "other:1"]);
    assert_eq!(silo.ok(&["images", "-q"]).lines().count(), 1);
    Transcript::of(&silo)
        .run(&["rmi", "mine"])
        .run(&["rmi", "other:1"])
        .run(&["images"])
        .run(&["system", "check"])
        .assert("images-removed");
}

#[test]
fn every_shell_gets_completions_and_the_manual_is_written() {
    let silo = Silo::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        assert!(silo.ok(&["completion", shell]).contains("silo"), "{shell}");
    }
    silo.ok(&["man", "pages"]);
    assert!(silo.home().join("pages/silo-run.1").is_file());
    assert!(silo.ok(&["version"]).contains(env!("CARGO_PKG_VERSION")));
    assert!(silo.ok(&["info"]).contains(text(&silo.root())));
    assert!(silo.ok(&["system", "df"]).starts_with("TYPE"));
}

#[test]
fn the_option_wins_over_the_environment_in_naming_the_store() {
    let silo = Silo::new();
    let other = silo.home().join("other");
    let program = silo.command(&[]).get_program().to_owned();
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.args(args).env("SILO_ROOT", &other).output().expect("it starts")
    };
    assert!(run(&["images"]).status.success() && other.join("index.json").is_file());
    assert!(run(&["--root", text(&silo.root()), "images"]).status.success());
    assert!(silo.root().join("index.json").is_file());
}
