//! Whose users a container's are: those of a user namespace with a range of its own.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use silo_isolation::{Mount, MountKind, Users};

use crate::machine::{Machine, Running, is_able, is_root, output, run, start};

/// The real user id of a process, as this process sees it.
fn uid_of(running: &Running) -> u32 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.sandbox.pid().unwrap()));
    let status = status.unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn owner(path: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.uid(), metadata.gid())
}

#[test]
fn root_inside_is_nobody_outside_and_each_container_somebody_else() {
    if !is_able() || !is_root() {
        return;
    }
    let machine = Machine::new();
    let running = [(); 2].map(|()| start(&machine.shell("echo ready; sleep 1000")));
    let uids = running.each_ref().map(uid_of);
    assert!(uids.iter().all(|uid| (0x2400_0000..0x6fff_0000).contains(uid)), "{uids:?}");
    assert_ne!(uids[0] >> 16, uids[1] >> 16);
    for container in running {
        container.sandbox.signal(silo_isolation::Signal::KILL).unwrap();
        container.finish();
    }
}

#[test]
fn what_a_container_changes_has_its_own_ids_on_disk() {
    if !is_able() || !is_root() {
        return;
    }
    let machine = Machine::new();
    let theirs = machine.path("layer/theirs");
    fs::write(&theirs, "of user 33\n").unwrap();
    std::os::unix::fs::chown(&theirs, Some(33), Some(34)).unwrap();
    let bundle = machine.shell(
        "stat -c %u:%g /theirs /greeting; echo more >> /theirs; echo x > /new; mkdir /d; \
         echo y > /d/given; chown 1000:1001 /d/given; rm /bin/plain; chmod 4755 /new; \
         stat -c %u:%g:%a /new /d/given",
    );
    assert_eq!(output(&bundle), "33:34\n0:0\n0:0:4755\n1000:1001:644\n");
    let upper = &bundle.root.snapshot.upper;
    assert_eq!(owner(&upper.join("theirs")), (33, 34));
    assert_eq!(owner(&upper.join("new")), (0, 0));
    assert_eq!(owner(&upper.join("d")), (0, 0));
    assert_eq!(owner(&upper.join("d/given")), (1000, 1001));
    let whiteout = fs::symlink_metadata(upper.join("bin/plain")).unwrap();
    assert_eq!((whiteout.rdev(), owner(&upper.join("bin/plain"))), (0, (0, 0)));
}

#[test]
fn root_inside_owns_what_is_roots_in_a_volume() {
    if !is_able() || !is_root() {
        return;
    }
    let machine = Machine::new();
    let volume = machine.path("volume");
    fs::create_dir(&volume).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(volume.join("secret"), "root's\n").unwrap();
    fs::set_permissions(volume.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut bundle =
        machine.shell("cat /v/secret; echo x > /v/made; chown 7:8 /v/made; stat -c %u:%g /v/made");
    bundle.mounts = vec![Mount {
        destination: "/v".to_owned(),
        kind: MountKind::Bind { source: volume.clone() },
        readonly: false,
    }];
    assert_eq!(output(&bundle), "root's\n7:8\n");
    assert_eq!(owner(&volume.join("made")), (7, 8));
}

#[test]
fn a_volume_whose_file_system_maps_no_ids_shows_what_is_everybodys() {
    if !is_able() || !is_root() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell("cat /host/version; cat /host/kmsg || echo refused");
    bundle.mounts = vec![Mount {
        destination: "/host".to_owned(),
        kind: MountKind::Bind { source: "/proc".into() },
        readonly: true,
    }];
    let ran = run(&bundle);
    let version = fs::read_to_string("/proc/version").unwrap();
    assert_eq!(ran.out, format!("{version}refused\n"), "{ran:?}");
}

#[test]
fn the_hosts_users_are_a_choice() {
    if !is_able() || !is_root() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.shell("echo ready; readlink /proc/self/ns/user; cat /proc/uptime");
    bundle.security.users = Some(Users::Host);
    let printed = output(&bundle);
    let hosts = fs::read_link("/proc/self/ns/user").unwrap();
    assert_eq!(printed.lines().nth(1), hosts.to_str());
}

#[test]
fn the_clocks_start_with_the_container() {
    if !is_able() {
        return;
    }
    let uptime = output(&Machine::new().shell("cat /proc/uptime"));
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let hosts = fs::read_to_string("/proc/uptime").unwrap();
    let hosts: f64 = hosts.split(' ').next().unwrap().parse().unwrap();
    assert!(seconds < hosts && seconds < 60.0, "{seconds} of {hosts}");
}

#[test]
fn an_ordinary_user_can_stay_who_they_are() {
    if !is_able() || is_root() {
        return;
    }
    let machine = Machine::new();
    let volume = machine.path("volume");
    fs::create_dir(&volume).unwrap();
    let mut bundle = machine.shell(
        "id -u; id -g; grep CapEff /proc/self/status; echo x > /v/made; stat -c %u /v/made /greeting",
    );
    bundle.security.users = Some(Users::Kept);
    bundle.process.user = None;
    bundle.mounts = vec![Mount {
        destination: "/v".to_owned(),
        kind: MountKind::Bind { source: volume.clone() },
        readonly: false,
    }];
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let expected = format!("{uid}\n{gid}\nCapEff:\t0000000000000000\n{uid}\n{uid}\n");
    assert_eq!(output(&bundle), expected);
    assert_eq!(owner(&volume.join("made")), (uid, gid));
}
