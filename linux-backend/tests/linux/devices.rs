//! Devices of the host, and rules over those that a container may open.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use silo_isolation::{
    Bundle, Device, DeviceAccess, Isolation, IsolationBackend as _, Mount, MountKind, Users,
};
use silo_linux::LinuxBackend;

use crate::machine::{Machine, is_able, is_root, output, run};

/// Root's own on the host, as most devices are.
const FUSE: &str = "/dev/fuse";

fn device(source: &str, destination: &str, access: &str) -> Device {
    let access = access.parse().unwrap();
    Device { source: source.into(), destination: destination.to_owned(), access }
}

/// Whether root runs this on a machine with FUSE.
fn has_fuse() -> bool {
    let why = "there is no /dev/fuse: `modprobe fuse`";
    is_able() && is_root() && (Path::new(FUSE).exists() || crate::machine::skip(why))
}

fn given(machine: &Machine, device: Device, line: &str) -> Bundle {
    let mut bundle = machine.shell(line);
    bundle.security.devices = vec![device];
    bundle
}

#[test]
fn root_inside_opens_the_hosts_device_that_it_is_given() {
    if !has_fuse() {
        return;
    }
    let machine = Machine::new();
    let line = "exec 3<>/dev/deep/fuse && stat -c '%F %t:%T %u:%g' /dev/deep/fuse; ls -ld /dev/pts | head -c 1; \
                chmod 600 /dev/deep/fuse && stat -c %a /dev/deep/fuse";
    for users in [Users::Own, Users::Host] {
        let mut bundle = given(&machine, device(FUSE, "/dev/deep/fuse", "rwm"), line);
        bundle.security.users = Some(users);
        let hosts = fs::metadata(FUSE).unwrap();
        let expected =
            format!("character special file a:e5 {}:{}\nd600\n", hosts.uid(), hosts.gid());
        assert_eq!(output(&bundle), expected, "{users:?}");
        assert_eq!(fs::metadata(FUSE).unwrap().mode(), hosts.mode(), "{users:?}");
    }
}

#[test]
fn a_device_given_to_read_is_not_written() {
    if !has_fuse() {
        return;
    }
    let machine = Machine::new();
    let line =
        "exec 3</dev/fuse && echo read; (exec 3<>/dev/fuse) 2>&1 || echo x >/dev/null && echo ok";
    for users in [Users::Own, Users::Host] {
        let mut bundle = given(&machine, device(FUSE, FUSE, "r"), line);
        bundle.security.users = Some(users);
        let printed = output(&bundle);
        assert!(printed.starts_with("read\n") && printed.ends_with("\nok\n"), "{printed}");
        assert!(printed.contains("not permitted"), "{printed}");
    }
}

#[test]
fn with_the_hosts_users_a_made_node_opens_only_by_a_rule() {
    if !has_fuse() {
        return;
    }
    let machine = Machine::new();
    let line = "mknod /dev/mine c 10 235 && mknod /dev/more c 1 5 && \
                (exec 3</dev/mine) 2>&1; head -c 1 /dev/more | wc -c";
    let mut bundle = given(&machine, device(FUSE, FUSE, "rwm"), line);
    bundle.security.isolation = Isolation::Docker;
    let printed = output(&bundle);
    assert!(printed.contains("not permitted") && printed.ends_with("\n1\n"), "{printed}");
    bundle = given(&machine, device(FUSE, FUSE, "rwm"), line);
    bundle.security.isolation = Isolation::Docker;
    bundle.security.device_rules = vec!["c 10:* r".parse().unwrap()];
    assert_eq!(output(&bundle), "1\n");
}

#[test]
fn a_device_has_its_place_anywhere() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let bundle =
        given(&machine, device("/dev/zero", "/opt/zeros", "rwm"), "head -c 3 /opt/zeros | wc -c");
    assert_eq!(output(&bundle), "3\n");
}

#[test]
fn the_devices_of_a_directory_are_given() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let line = "ls /dev/host | tr '\\n' ' '; head -c 1 /dev/host/zero | wc -c";
    let printed = output(&given(&machine, device("/dev", "/dev/host", "rwm"), line));
    let names: Vec<_> = printed.split_whitespace().collect();
    assert!(names.contains(&"null") && names.contains(&"zero"), "{printed}");
    assert!(!names.contains(&"pts") && !names.contains(&"console"), "{printed}");
    assert!(printed.ends_with("1\n"), "{printed}");
}

#[test]
fn what_cannot_be_given_is_told_at_once() {
    let machine = Machine::new();
    let mut bundle = machine.shell("true");
    bundle.security.devices = vec![
        device("/nonexistent", "/dev/a", "r"),
        device("/etc/passwd", "/dev/b", "rwm"),
        device("/dev/null", "/dev/pts/ptmx", "rwm"),
    ];
    let refusals = LinuxBackend::new().admit(&bundle);
    let told: Vec<_> = refusals.iter().map(|refusal| refusal.what.as_str()).collect();
    for path in ["/nonexistent", "/etc/passwd", "/dev/null"] {
        assert!(told.contains(&format!("--device {path}").as_str()), "{told:?}");
    }
}

#[test]
fn nobody_changes_the_hosts_nodes() {
    if !is_able() || !is_root() {
        return;
    }
    let before = fs::metadata("/dev/null").unwrap();
    let machine = Machine::new();
    let mut bundle =
        machine.shell("chmod 600 /dev/null; chown 5 /dev/null; echo x > /dev/null && echo ok");
    bundle.security.users = Some(Users::Host);
    let ran = run(&bundle);
    assert_eq!(ran.out, "ok\n", "{ran:?}");
    let after = fs::metadata("/dev/null").unwrap();
    assert_eq!(
        (after.permissions().mode(), after.uid()),
        (before.permissions().mode(), before.uid())
    );
}

fn status(printed: &str, name: &str) -> String {
    let line = printed.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().trim_start_matches(':').trim().to_owned()
}

#[test]
fn a_privileged_container_of_roots_has_what_root_has() {
    if !is_able() || !is_root() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell(
        "cat /proc/self/status; readlink /proc/self/ns/user; ls /dev | wc -l; head -c 1 /v/zero | wc -c; mknod /mine c 1 5 && \
         head -c 1 /mine | wc -c; grep ' /sys sysfs ' /proc/mounts",
    );
    bundle.security.privileged = true;
    bundle.mounts = vec![Mount {
        destination: "/v".to_owned(),
        kind: MountKind::Bind { source: "/dev".into() },
        readonly: false,
    }];
    let printed = output(&bundle);
    let own = fs::read_to_string("/proc/self/status").unwrap();
    assert_eq!(status(&printed, "CapEff"), status(&own, "CapBnd"));
    assert_eq!(
        (status(&printed, "Seccomp"), status(&printed, "NoNewPrivs")),
        ("0".into(), "0".into())
    );
    let hosts = fs::read_link("/proc/self/ns/user").unwrap();
    assert!(printed.contains(hosts.to_str().unwrap()), "{printed}");
    let lines: Vec<_> = printed.lines().rev().take(4).collect();
    assert!(lines[0].contains(" rw,"), "{printed}");
    assert_eq!((lines[1], lines[2]), ("1", "1"), "{printed}");
    assert!(lines[3].parse::<usize>().unwrap() > 12, "{printed}");
}

#[test]
fn with_users_of_its_own_a_privileged_container_has_all_but_the_host() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell(
        "cat /proc/self/status; mount -t tmpfs none /tmp && echo mounted; \
         mknod /tmp/mine c 1 5 2>/dev/null && head -c 1 /tmp/mine 2>/dev/null || echo shut",
    );
    bundle.security.privileged = true;
    bundle.security.users = Some(Users::Own);
    let printed = output(&bundle);
    assert_eq!(status(&printed, "CapEff"), "000001ffffffffff");
    assert!(printed.ends_with("mounted\nshut\n"), "{printed}");
}

#[test]
fn strict_isolation_and_privileges_exclude_each_other() {
    let mut bundle = Machine::new().shell("true");
    bundle.security.privileged = true;
    bundle.security.isolation = Isolation::Strict;
    let refusals = LinuxBackend::new().admit(&bundle);
    assert!(refusals.iter().any(|refusal| refusal.what == "--privileged"), "{refusals:?}");
}

#[test]
fn an_ordinary_user_gives_devices_whole_and_has_no_rules() {
    if is_root() {
        return;
    }
    let mut bundle = Machine::new().shell("true");
    let read = DeviceAccess { read: true, write: false, mknod: false };
    bundle.security.devices =
        vec![Device { access: read, ..device("/dev/zero", "/dev/zeros", "rwm") }];
    bundle.security.device_rules = vec!["c 1:5 r".parse().unwrap()];
    let refusals = LinuxBackend::new().admit(&bundle);
    let told: Vec<_> = refusals.iter().map(|refusal| refusal.what.as_str()).collect();
    assert_eq!(told, ["--device /dev/zero", "--device-cgroup-rule"]);
}
