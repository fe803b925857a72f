use std::{fs, io::Read as _};

use silo_isolation::{Error, ExitStatus, IsolationBackend as _, Signal, Stdio, TerminalSize, User};
use silo_linux::LinuxBackend;

use crate::machine::{Machine, Running, is_able, is_root, pipes, process, read, start};

fn sleeping(machine: &Machine, line: &str) -> Running {
    let mut bundle = machine.shell(&format!("{line} echo ready; sleep 1000"));
    if is_root() {
        bundle.limits.pids = Some(30);
    }
    let mut running = start(&bundle);
    running.ready();
    running
}

fn exec(running: &Running, line: &str) -> (ExitStatus, String, String) {
    let (stdio, out, err) = pipes();
    let exec = running.sandbox.exec().unwrap();
    let joined = exec.exec(&process(&["sh", "-c", line]), stdio).unwrap();
    let (out, err) = (read(out), read(err));
    let exit = joined.wait().unwrap();
    assert_eq!(joined.wait().unwrap(), exit);
    (exit.status, out.join().unwrap(), err.join().unwrap())
}

#[test]
fn a_second_process_is_in_the_same_isolation() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let running = sleeping(&machine, "echo from the first > /note;");
    let names = "mnt pid ipc uts net cgroup user";
    let line = format!(
        "cat /note; grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status > /own; \
         grep -E '^(Cap|NoNew|Seccomp:)' /proc/1/status > /first; [ \"$(cat /own)\" = \"$(cat /first)\" ] && echo same; \
         for ns in {names}; do readlink /proc/self/ns/$ns; done; ls /proc/self/fd; cat /proc/self/cgroup | grep -c pids:/$; exit 9"
    );
    let (status, out, err) = exec(&running, &line);
    assert_eq!(status, ExitStatus::Exited(9), "{out}{err}");
    assert!(out.starts_with("from the first\nsame\n"), "{out}{err}");
    let first = running.sandbox.pid().unwrap();
    for name in names.split(' ') {
        let link = fs::read_link(format!("/proc/{first}/ns/{name}")).unwrap();
        assert!(out.contains(&*link.to_string_lossy()), "{name}: {out}");
    }
    assert!(out.contains("\n0\n1\n2\n3\n"), "{out}");
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();
}

#[test]
fn it_has_its_own_user_directory_and_environment() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let running = sleeping(&machine, "");
    let (stdio, out, _err) = pipes();
    let mut other = process(&["sh", "-c", "echo $NAME; pwd; id -u"]);
    other.env.push("NAME=value".to_owned());
    other.cwd = "/home".to_owned();
    let uid = if is_root() { 77 } else { 0 };
    other.user = Some(User { uid, ..User::default() });
    let joined = running.sandbox.exec().unwrap().exec(&other, stdio).unwrap();
    assert_eq!(joined.wait().unwrap().status, ExitStatus::Exited(0));
    assert_eq!(read(out).join().unwrap(), format!("value\n/home\n{uid}\n"));
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();
}

#[test]
fn it_can_have_a_terminal_and_be_signalled() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let running = sleeping(&machine, "");
    let exec = running.sandbox.exec().unwrap();
    let size = TerminalSize { rows: 21, columns: 43 };
    let line = process(&["sh", "-c", "stty size; tty; sleep 1000"]);
    let joined = exec.exec(&line, Stdio::Terminal(size)).unwrap();
    let mut output = joined.terminal().unwrap().output().unwrap();
    let mut seen = [0; 19];
    output.read_exact(&mut seen).unwrap();
    assert_eq!(std::str::from_utf8(&seen), Ok("21 43\r\n/dev/pts/0\r\n"));
    joined.signal(Signal::KILL).unwrap();
    assert_eq!(joined.wait().unwrap().status, ExitStatus::Signaled(Signal::KILL));
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();
}

#[test]
fn a_missing_program_and_a_sandbox_that_is_not_started_are_told() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let (stdio, _out, _err) = pipes();
    let sandbox = LinuxBackend::new().create(&machine.shell("sleep 1000"), stdio).unwrap();
    let (stdio, _out, _err) = pipes();
    let early = sandbox.exec().unwrap().exec(&process(&["true"]), stdio);
    assert!(matches!(early, Err(Error::WrongState { state: "not started" })));
    sandbox.start().unwrap();
    let (stdio, _out, _err) = pipes();
    let error = sandbox.exec().unwrap().exec(&process(&["nothing"]), stdio).err().unwrap();
    assert_eq!(error.exit_code(), 127);
    sandbox.delete().unwrap();
}

#[test]
fn it_ends_with_the_first() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let running = sleeping(&machine, "");
    let (stdio, _out, _err) = pipes();
    let joined = running.sandbox.exec().unwrap().exec(&process(&["sleep", "1000"]), stdio).unwrap();
    running.sandbox.signal(Signal::KILL).unwrap();
    assert_eq!(joined.wait().unwrap().status, ExitStatus::Signaled(Signal::KILL));
    running.finish();
}

#[test]
fn however_fast_they_fail_none_keeps_the_sandbox_from_ending() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let running = sleeping(&machine, "");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let (stdio, _out, _err) = pipes();
                    let exec = running.sandbox.exec().unwrap();
                    let error = exec.exec(&process(&["nothing"]), stdio).err().unwrap();
                    assert_eq!(error.exit_code(), 127, "{error}");
                }
            });
        }
    });
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();
}
