//! What each isolation comes to in a container.

use std::{collections::BTreeMap, fs};

use silo_isolation::{Bundle, Isolation, Mount, MountKind, Process, Seccomp, Stdio, User, Users};

use crate::machine::{Machine, is_able, is_root, output, process, read, run, start};

fn isolated(machine: &Machine, isolation: Isolation, line: &str) -> Bundle {
    let mut bundle = machine.shell(line);
    bundle.security.isolation = isolation;
    bundle.root.readonly = isolation == Isolation::Strict;
    bundle
}

fn status(printed: &str) -> BTreeMap<&str, &str> {
    printed.lines().filter_map(|line| line.split_once(':')).map(|(k, v)| (k, v.trim())).collect()
}

#[test]
fn strict_isolation_leaves_processes_and_a_root_that_stays() {
    if !is_able() {
        return;
    }
    let line = "cat /proc/self/status; ls /proc | grep -v '^[0-9]' | tr '\\n' ' '; \
                touch /x 2>/dev/null || echo locked; ls -d /sys/* 2>/dev/null || echo no sysfs";
    let machine = Machine::new();
    let printed = output(&isolated(&machine, Isolation::Strict, line));
    let status = status(&printed);
    for set in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
        assert_eq!(status[set], "0000000000000000", "{set}");
    }
    assert_eq!((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"));
    assert!(printed.ends_with("self thread-self locked\nno sysfs\n"), "{printed}");
}

#[test]
fn strict_isolation_writes_where_it_may_and_nowhere_else() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let (directory, file) = (machine.path("volume"), machine.path("file"));
    fs::create_dir(&directory).unwrap();
    fs::write(&file, "old\n").unwrap();
    let line = "for path in /d/x /f /t/x /dev/shm/x /etc/x /proc/self/oom_score_adj; do \
                (echo 1 > $path) 2>/dev/null && echo $path; done; cat /f; echo > /dev/null && ls /bin/sh";
    let mut bundle = isolated(&machine, Isolation::Strict, line);
    let bind = |source: &std::path::Path, destination: &str| Mount {
        destination: destination.to_owned(),
        kind: MountKind::Bind { source: source.to_owned() },
        readonly: false,
    };
    let tmpfs = MountKind::Tmpfs { size: None, mode: None };
    let tmpfs = Mount { destination: "/t".to_owned(), kind: tmpfs, readonly: false };
    bundle.mounts = vec![bind(&directory, "/d"), bind(&file, "/f"), tmpfs];
    assert_eq!(output(&bundle), "/d/x\n/f\n/t/x\n/dev/shm/x\n1\n/bin/sh\n");
}

#[test]
fn strict_isolation_has_no_internet_socket() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let line = "ip addr 2>&1 | head -n 1";
    assert!(output(&isolated(&machine, Isolation::Strict, line)).contains("not permitted"));
    assert!(output(&isolated(&machine, Isolation::Default, line)).contains("lo"));
}

#[test]
fn dockers_isolation_has_dockers_capabilities() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let printed = output(&isolated(&machine, Isolation::Docker, "cat /proc/self/status"));
    let status = status(&printed);
    assert_eq!(status["CapEff"], "00000000a80425fb");
    assert_eq!((status["NoNewPrivs"], status["Seccomp"]), ("0", "2"));
}

#[test]
fn another_user_keeps_no_capability_where_privileges_can_be_gained() {
    if !is_able() || !is_root() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = isolated(&machine, Isolation::Docker, "cat /proc/self/status");
    bundle.process.user = Some(User { uid: 33, gid: 33, additional_gids: Vec::new() });
    let printed = output(&bundle);
    let status = status(&printed);
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(status[set], "0000000000000000", "{set}");
    }
    assert_eq!(status["CapBnd"], "00000000a80425fb");
}

#[test]
fn a_capability_that_is_added_works_inside_and_nowhere_else() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let line = "mount -t tmpfs none /tmp 2>&1 && echo mounted; hostname other && hostname";
    let ran = run(&machine.shell(line));
    assert!(!ran.out.contains("mounted") && !ran.out.contains("other"), "{ran:?}");
    let mut bundle = machine.shell(line);
    bundle.security.add_capabilities = vec!["SYS_ADMIN".to_owned()];
    assert_eq!(output(&bundle), "mounted\nother\n");
    // The clock is the host's; it is set to what it shows.
    let mut bundle = machine.shell("date -s @$(date +%s) 2>&1 >/dev/null");
    bundle.security.add_capabilities = vec!["ALL".to_owned()];
    assert_eq!(output(&bundle), "date: can't set date: Operation not permitted\n");
}

#[test]
fn a_device_that_a_guest_makes_opens_nothing() {
    if !is_able() || !is_root() {
        return;
    }
    let machine = Machine::new();
    // The host's /dev/zero.
    let line = "for path in /dev/x /dev/shm/x /x /s/x; do \
                mknod $path c 1 5 || echo unmade; head -c 1 $path; done";
    for isolation in [Isolation::Default, Isolation::Docker] {
        let mut bundle = isolated(&machine, isolation, line);
        bundle.security.users = Some(Users::Host);
        bundle.security.add_capabilities = vec!["MKNOD".to_owned()];
        let tmpfs = MountKind::Tmpfs { size: None, mode: None };
        bundle.mounts = vec![Mount { destination: "/s".to_owned(), kind: tmpfs, readonly: false }];
        let ran = run(&bundle);
        assert_eq!(
            (ran.out.as_str(), ran.err.matches("Permission denied").count()),
            ("", 4),
            "{ran:?}"
        );
    }
}

#[test]
fn capabilities_that_are_dropped_are_gone() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell("grep Cap /proc/self/status; chroot / /bin/true || true");
    bundle.security.drop_capabilities = vec!["all".to_owned()];
    let ran = run(&bundle);
    assert!(ran.out.contains("CapBnd:\t0000000000000000"), "{ran:?}");
    assert!(ran.err.contains("not permitted"), "{ran:?}");
}

#[test]
fn a_seccomp_profile_replaces_the_isolations() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell("mkdir /d 2>&1; echo $?");
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#;
    bundle.security.seccomp = Seccomp::Profile(profile.to_owned());
    assert_eq!(output(&bundle), "mkdir: can't create directory '/d': No space left on device\n1\n");
    for no_new_privileges in [true, false] {
        let mut bundle = machine.shell("grep Seccomp: /proc/self/status");
        bundle.security.seccomp = Seccomp::Unconfined;
        bundle.security.no_new_privileges = Some(no_new_privileges);
        assert_eq!(output(&bundle), "Seccomp:\t0\n");
    }
}

#[test]
fn system_paths_are_left_open_where_that_is_asked_for() {
    if !is_able() {
        return;
    }
    let line = "grep -c -e ' /proc/' -e ' /sys/' /proc/self/mountinfo || true";
    let machine = Machine::new();
    let mut bundle = machine.shell(line);
    let covered = output(&bundle);
    bundle.security.open_system_paths = true;
    assert!(covered.trim().parse::<u32>().unwrap() > output(&bundle).trim().parse().unwrap());
}

#[test]
fn exec_is_isolated_as_the_container_is() {
    if !is_able() {
        return;
    }
    for isolation in Isolation::ALL {
        let machine = Machine::new();
        let mut running = start(&isolated(&machine, isolation, "echo ready; sleep 1000"));
        running.ready();
        let pid = running.sandbox.pid().unwrap();
        let first = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let (out, stdout) = std::io::pipe().unwrap();
        let (_, stderr) = std::io::pipe().unwrap();
        let cat = Process { ..process(&["cat", "/proc/self/status"]) };
        let exec = running.sandbox.exec().unwrap();
        let exec = exec.exec(&cat, Stdio::Pipes { stdin: None, stdout, stderr }).unwrap();
        exec.wait().unwrap();
        let second = read(out).join().unwrap();
        let (first, second) = (status(&first), status(&second));
        for key in ["CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp", "Seccomp_filters"] {
            assert_eq!(first[key], second[key], "{key} in {}", isolation.name());
        }
        running.sandbox.signal(silo_isolation::Signal::KILL).unwrap();
        running.finish();
    }
}
