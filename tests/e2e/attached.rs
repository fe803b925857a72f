//! Taking part in containers that run, and leaving them.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
};

use crate::support::{Silo, ended, transcript::Transcript, wait_until};

/// Prints a line for ever; an INT ends it with 9.
const TICK: &str = "trap 'exit 9' INT; while :; do echo tick; sleep 0.05; done";
const LEAVE: &[u8] = b"\x10\x11";

/// A command on a terminal of its own, which types what is written to its stdin.
fn on_terminal(silo: &Silo, args: &[&str]) -> Child {
    let command = silo.command(args);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = Command::new("script");
    script.args(["-qefc", &line.join(" "), "/dev/null"]);
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script starts")
}

fn type_in(child: &mut Child, keys: &[u8]) {
    let stdin = child.stdin.as_mut().expect("a pipe");
    stdin.write_all(keys).and_then(|()| stdin.flush()).expect("it is typed");
}

/// Reads on until a line holds `text`.
fn read_until(lines: &mut impl Iterator<Item = std::io::Result<String>>, text: &str) {
    assert!(lines.any(|line| line.unwrap().contains(text)), "{text} is not printed");
}

fn status(silo: &Silo) -> String {
    silo.inspect("c", "{{.State.Status}}")
}

#[test]
fn keys_leave_a_terminal_running_which_can_be_attached_to_again() {
    let Some(silo) = Silo::with_busybox() else { return };
    let mut run = on_terminal(&silo, &["run", "-it", "--name", "c", "busybox", "sh"]);
    type_in(&mut run, b"echo in-$((40+2))\n");
    wait_until("the shell to answer", || silo.run(&["logs", "c"]).stdout.contains("in-42"));
    type_in(&mut run, LEAVE);
    let ran = ended(&run.wait_with_output().unwrap());
    assert_eq!((ran.code, status(&silo).as_str()), (0, "running"), "{ran:?}");
    let mut attached = on_terminal(&silo, &["attach", "--detach-keys", "ctrl-x,x", "c"]);
    type_in(&mut attached, b"echo out-$((40+2))\n");
    wait_until("the shell to answer", || silo.run(&["logs", "c"]).stdout.contains("out-42"));
    type_in(&mut attached, b"\x18x");
    let attached = ended(&attached.wait_with_output().unwrap());
    assert!(attached.stdout.contains("out-42"), "{attached:?}");
    assert!(attached.stdout.contains("read escape sequence"), "{attached:?}");
    assert_eq!((attached.code, status(&silo).as_str()), (1, "running"));
    let mut attached = on_terminal(&silo, &["attach", "c"]);
    type_in(&mut attached, b"exit 7\n");
    assert_eq!(attached.wait().unwrap().code(), Some(7));
    let mut start = on_terminal(&silo, &["start", "-ai", "c"]);
    type_in(&mut start, b"echo again-$((40+2))\n");
    wait_until("the shell to answer", || silo.run(&["logs", "c"]).stdout.contains("again-42"));
    type_in(&mut start, LEAVE);
    assert_eq!(start.wait().unwrap().code(), Some(0));
    assert_eq!(status(&silo), "running");
    silo.ok(&["rm", "-f", "c"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn keys_leave_a_program_of_exec_running() {
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&["run", "-d", "--name", "c", "busybox", "sleep", "1000"]);
    let script = "echo ready >/ready; read line; echo $line >/line; sleep 999";
    let mut exec = on_terminal(&silo, &["exec", "-it", "c", "sh", "-c", script]);
    wait_until("it to run", || silo.run(&["exec", "c", "test", "-f", "/ready"]).code == 0);
    type_in(&mut exec, b"typed\n");
    wait_until("it to read", || silo.run(&["exec", "c", "cat", "/line"]).stdout == "typed\n");
    type_in(&mut exec, LEAVE);
    let left = ended(&exec.wait_with_output().unwrap());
    assert!(left.code == 1 && left.stdout.contains("read escape sequence"), "{left:?}");
    let processes = silo.ok(&["exec", "c", "ps"]);
    assert!(processes.contains("sleep 999"), "{processes}");
    silo.ok(&["rm", "-f", "c"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn one_who_attaches_sees_what_is_printed_and_exits_as_the_container() {
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&["run", "-d", "--name", "c", "busybox", "sh", "-c", TICK]);
    let mut attached = silo.spawn(&["attach", "--no-stdin", "c"]);
    read_until(&mut BufReader::new(attached.stdout.as_mut().unwrap()).lines(), "tick");
    let mut apart = silo.spawn(&["attach", "--sig-proxy=false", "c"]);
    read_until(&mut BufReader::new(apart.stdout.as_mut().unwrap()).lines(), "tick");
    let interrupt = |child: &Child| {
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap()
    };
    interrupt(&apart);
    assert_eq!(apart.wait().unwrap().code(), None);
    assert_eq!(status(&silo), "running");
    interrupt(&attached);
    // Its pipe is read on, lest it wait for that.
    let attached = attached.wait_with_output().unwrap();
    assert_eq!(attached.status.code(), Some(9));
    silo.ok(&["rm", "c"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn one_who_attaches_types_what_a_program_reads() {
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&["run", "-d", "-i", "--name", "c", "busybox", "cat"]);
    for text in ["first", "second"] {
        let mut attached = silo.spawn(&["attach", "c"]);
        type_in(&mut attached, format!("{text}\n").as_bytes());
        drop(attached.stdin.take());
        read_until(&mut BufReader::new(attached.stdout.as_mut().unwrap()).lines(), text);
        // Others may come: what it reads has not ended.
        assert_eq!(status(&silo), "running");
        attached.kill().unwrap();
        attached.wait().unwrap();
    }
    let mut attached = silo.spawn(&["attach", "c"]);
    type_in(&mut attached, b"third\n");
    read_until(&mut BufReader::new(attached.stdout.as_mut().unwrap()).lines(), "third");
    silo.ok(&["kill", "c"]);
    assert_eq!(attached.wait_with_output().unwrap().status.code(), Some(137));
    silo.ok(&["rm", "c"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn only_a_container_that_runs_is_attached_to() {
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&["create", "--name", "made", "busybox", "true"]);
    silo.ok(&["run", "-d", "--name", "paused", "busybox", "sleep", "1000"]);
    silo.ok(&["pause", "paused"]);
    silo.ok(&["run", "-dit", "--name", "typed", "busybox", "sh"]);
    Transcript::of(&silo)
        .run(&["attach", "made"])
        .run(&["attach", "paused"])
        .run(&["attach", "nonexistent"])
        .run(&["attach", "typed"])
        .run(&["attach", "--detach-keys", "ctrl-1", "typed"])
        .run(&["rm", "-f", "made", "paused", "typed"])
        .assert("attach-refused");
    silo.assert_nothing_left(&[]);
}
