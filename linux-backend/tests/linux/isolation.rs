use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _};

use silo_isolation::{Mount, MountKind, Network, User};

use crate::machine::{Machine, is_able, is_root, output, run};

#[test]
fn every_namespace_is_the_containers_own() {
    if !is_able() {
        return;
    }
    let names = ["mnt", "pid", "ipc", "uts", "net", "cgroup", "user", "time"];
    let links = names.map(|name| format!("/proc/self/ns/{name}"));
    let line = format!("readlink {}", links.join("; readlink "));
    let inside = output(&Machine::new().shell(&line));
    for (name, inside) in names.iter().zip(inside.lines()) {
        let outside = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(outside.to_string_lossy(), inside, "{name}");
    }
}

fn status(machine: &Machine, user: Option<User>) -> BTreeMap<String, String> {
    let mut bundle = machine.bundle(&["cat", "/proc/self/status"]);
    bundle.process.user = user;
    let line = |line: &str| {
        let (key, value) = line.split_once(':')?;
        Some((key.to_owned(), value.trim().to_owned()))
    };
    output(&bundle).lines().filter_map(line).collect()
}

#[test]
fn user_zero_has_the_default_capabilities_and_a_filter() {
    if !is_able() {
        return;
    }
    let status = status(&Machine::new(), None);
    let default = "00000000800405fb";
    for (key, value) in [
        ("CapEff", default),
        ("CapPrm", default),
        ("CapBnd", default),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("Seccomp_filters", "1"),
        ("SigBlk", "0000000000000000"),
        ("SigIgn", "0000000000000000"),
        ("Umask", "0022"),
    ] {
        assert_eq!(status[key], value, "{key}");
    }
}

#[test]
fn another_user_has_no_capability() {
    if !is_able() || !is_root() {
        return;
    }
    let user = User { uid: 33, gid: 34, additional_gids: vec![35, 36] };
    let status = status(&Machine::new(), Some(user));
    assert_eq!(status["CapEff"], "0000000000000000");
    assert_eq!(status["CapPrm"], "0000000000000000");
    assert_eq!(status["Uid"], "33\t33\t33\t33");
    assert_eq!(status["Gid"], "34\t34\t34\t34");
    assert_eq!(status["Groups"], "35 36");
}

#[test]
fn nothing_of_the_engine_reaches_the_program() {
    if !is_able() {
        return;
    }
    // An open directory of the host, inheritable.
    let host = fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&host, rustix::io::FdFlags::empty()).unwrap();
    let printed = output(&Machine::new().shell("ls /proc/self/fd; ls -d /proc/[0-9]*; pwd"));
    // The fourth is ls's own, on the directory that it lists.
    assert!(printed.starts_with("0\n1\n2\n3\n"), "{printed}");
    assert!(!printed.contains("\n4\n"), "{printed}");
    assert!(printed.contains("/proc/1\n") && printed.ends_with("\n/\n"), "{printed}");
}

#[test]
fn masked_paths_are_empty_and_kernel_settings_cannot_be_written() {
    if !is_able() {
        return;
    }
    let defaults = silo_linux::defaults(silo_isolation::Isolation::Default);
    let masked = defaults.masked_paths.join(" ");
    let line = format!(
        "for path in {masked}; do [ -e $path ] || continue; \
         if [ -d $path ]; then ls $path; touch $path/x 2>/dev/null && echo $path; else cat $path; fi; done"
    );
    assert_eq!(run(&Machine::new().shell(&line)).out, "");
    for line in [
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger",
        "touch /sys/x",
        "mount -t tmpfs none /tmp",
        "umount /proc/kcore",
        "unshare -U true",
        "mknod /x b 8 0",
        "chroot /proc /bin/true",
    ] {
        let ran = run(&Machine::new().shell(&format!("{line} && echo done")));
        assert_eq!(ran.out, "", "{line}");
    }
}

#[test]
fn dev_holds_the_default_nodes_and_no_more() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let printed = output(
        &machine.shell("ls /dev; echo a > /dev/null; wc -c < /dev/shm/x 2>/dev/null || echo none"),
    );
    assert_eq!(
        printed,
        "fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\nnone\n"
    );
    assert_eq!(
        output(&machine.shell("cat /dev/zero | tr '\\0' 0 | { read -n 4 x; echo $x; }")),
        "0000\n"
    );
}

#[test]
fn a_device_node_of_the_image_opens_nothing() {
    if !is_able() || !is_root() {
        return;
    }
    let machine = Machine::new();
    let layer = fs::File::open(machine.path("layer")).unwrap();
    let number = rustix::fs::makedev(1, 5);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(&layer, "zero", kind, 0o666.into(), number).unwrap();
    let ran = run(&machine.shell("cat /zero | { read -n 1 x; }"));
    assert!(ran.err.contains("Permission denied"), "{ran:?}");
}

#[test]
fn the_files_of_etc_are_the_containers_own() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let printed =
        output(&machine.shell("hostname; cat /etc/hostname /etc/hosts; cat /etc/resolv.conf"));
    assert!(printed.starts_with("box\nbox\n127.0.0.1\tlocalhost\n"), "{printed}");
    assert!(printed.ends_with("127.0.1.1\tbox\n"), "{printed}");
    // The image's dangling link was followed inside the root.
    let mut bundle = machine.bundle(&["cat", "/etc/resolv.conf"]);
    bundle.network = Network::Host;
    assert_eq!(output(&bundle), fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    assert!(bundle.root.snapshot.upper.join("run/resolve/stub.conf").exists());
}

#[test]
fn the_network_is_a_loopback_of_its_own_or_the_hosts() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let alone =
        output(&machine.shell("ls /sys/class/net; cat /proc/net/dev | wc -l; ip addr show lo"));
    assert!(alone.starts_with("lo\n3\n") && alone.contains("LOOPBACK,UP"), "{alone}");
    let mut bundle = machine.bundle(&["readlink", "/proc/self/ns/net"]);
    bundle.network = Network::Host;
    let host = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(output(&bundle).trim(), host.to_string_lossy());
}

#[test]
fn mounts_land_where_they_are_asked_for() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let host = machine.path("volume");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("file"), "from the host\n").unwrap();
    let bind = |name: &str, destination: &str, readonly| Mount {
        destination: destination.to_owned(),
        kind: MountKind::Bind { source: host.join(name) },
        readonly,
    };
    let mut bundle = machine.shell(
        "cat /new/place/file /single; echo changed > /new/place/made; \
         touch /locked/x 2>/dev/null || echo locked; stat -c %a /scratch; \
         grep -c 'nosuid,nodev.* /new/place' /proc/self/mountinfo >/dev/null; grep ' /scratch ' /proc/self/mountinfo | grep -o 'size=[0-9a-z]*'",
    );
    bundle.mounts = vec![
        bind("", "/new/place", false),
        bind("", "/locked", true),
        bind("file", "/single", false),
        Mount {
            destination: "/scratch".to_owned(),
            kind: MountKind::Tmpfs { size: Some(1 << 20), mode: Some(0o750) },
            readonly: false,
        },
    ];
    assert_eq!(output(&bundle), "from the host\nfrom the host\nlocked\n750\nsize=1024k\n");
    assert_eq!(fs::read_to_string(host.join("made")).unwrap(), "changed\n");
    assert_eq!(fs::metadata(host.join("made")).unwrap().uid(), rustix::process::geteuid().as_raw());
}

#[test]
fn the_hosts_paths_are_not_told() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let bundle = machine.bundle(&["grep", " / / ", "/proc/self/mountinfo"]);
    let printed = output(&bundle);
    assert!(printed.contains("lowerdir"), "{printed}");
    assert!(!printed.contains(&*machine.path("").to_string_lossy()), "{printed}");
}

#[test]
fn a_read_only_root_still_has_what_is_mounted_in_it() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine
        .shell("touch /x 2>/dev/null || echo locked; cat /etc/hostname; pwd; touch /scratch/x");
    bundle.root.readonly = true;
    bundle.process.cwd = "/made/for/me".to_owned();
    bundle.mounts = vec![Mount {
        destination: "/scratch".to_owned(),
        kind: MountKind::Tmpfs { size: None, mode: None },
        readonly: false,
    }];
    assert_eq!(output(&bundle), "locked\nbox\n/made/for/me\n");
}

#[test]
fn an_image_without_layers_has_an_empty_root() {
    if !is_able() {
        return;
    }
    let machine = Machine::new();
    let mut bundle = machine.bundle(&["/busybox", "ls", "/etc"]);
    bundle.root.snapshot.lowers.clear();
    bundle.mounts = vec![Mount {
        destination: "/busybox".to_owned(),
        kind: MountKind::Bind { source: "/bin/busybox".into() },
        readonly: true,
    }];
    let ran = run(&bundle);
    assert_eq!(ran.out, "hostname\nhosts\nresolv.conf\n", "{ran:?}");
}
