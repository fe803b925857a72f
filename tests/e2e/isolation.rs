//! What a Linux guest can see and do, and what its limits do.

use std::fs;

use crate::support::{
    Silo,
    host::{field_of, is_root, needs_root, text},
};

fn inside(silo: &Silo, options: &[&str], script: &str) -> String {
    let mut args = vec!["run", "--rm"];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", script]);
    silo.ok(&args)
}

#[test]
fn a_guest_has_namespaces_of_its_own() {
    let Some(silo) = Silo::with_busybox() else { return };
    for name in ["mnt", "pid", "ipc", "uts", "net", "cgroup"] {
        let own = inside(&silo, &[], &format!("readlink /proc/self/ns/{name}"));
        let hosts = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(own, text(&hosts), "{name}");
    }
    assert_eq!(inside(&silo, &[], "echo $$"), "1");
    assert_eq!(inside(&silo, &["--hostname", "box"], "hostname"), "box");
    let interfaces = inside(&silo, &["--network", "none"], "ls /sys/class/net");
    assert_eq!(interfaces, "lo");
    let hosts = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(inside(&silo, &["--network", "host"], "readlink /proc/self/ns/net"), text(&hosts));
}

#[test]
fn an_unprivileged_users_guest_has_a_user_namespace_too() {
    let Some(archive) = crate::support::data("busybox/docker-archive.tar") else { return };
    let silo = Silo::unprivileged();
    let archive = silo.file("busybox.tar", fs::read(archive).unwrap());
    silo.ok(&["load", "-q", "-i", text(&archive)]);
    let said = silo.ok(&[
        "run",
        "--rm",
        "busybox:archive",
        "sh",
        "-c",
        "id -u; readlink /proc/self/ns/user; echo new > /etc/file && cat /etc/file",
    ]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], lines[2]), ("0", "new"));
    assert_ne!(lines[1], text(&fs::read_link("/proc/self/ns/user").unwrap()));
    silo.assert_nothing_left(&[]);
}

#[test]
fn the_root_is_the_images_and_nothing_of_the_host_is_mounted() {
    let Some(silo) = Silo::with_busybox() else { return };
    let mounts = inside(&silo, &[], "cat /proc/self/mountinfo");
    assert!(mounts.lines().next().is_some_and(|line| line.contains(" / / ")), "{mounts}");
    assert!(mounts.contains("overlay"), "{mounts}");
    let listed = inside(
        &silo,
        &[],
        "ls -d /root /home /etc/silo-note; ls /.old* /oldroot 2>/dev/null; true",
    );
    assert_eq!(listed, "/etc/silo-note\n/home\n/root");
    // By the shell alone, beside which there is nobody.
    assert_eq!(inside(&silo, &[], "echo /proc/[0-9]*"), "/proc/1");
}

#[test]
fn dockers_paths_are_masked_or_read_only() {
    let Some(silo) = Silo::with_busybox() else { return };
    for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list"] {
        assert_eq!(
            inside(&silo, &[], &format!("cat {path} 2>/dev/null | wc -c")).trim(),
            "0",
            "{path}"
        );
    }
    assert_eq!(
        inside(&silo, &[], "ls /sys/firmware /proc/scsi 2>/dev/null | grep -v : | wc -w").trim(),
        "0"
    );
    for path in ["/proc/sys/kernel/domainname", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper"]
    {
        let script = format!("echo x 2>/dev/null > {path} && echo written || echo refused");
        assert_eq!(inside(&silo, &[], &script), "refused", "{path}");
    }
    assert!(!inside(&silo, &[], "ls /dev").contains("vda"));
    let nodes = "for n in null zero full random urandom tty fd stdin stdout stderr ptmx pts shm; do [ -e /dev/$n ] || [ -h /dev/$n ] || echo $n; done";
    assert_eq!(inside(&silo, &[], nodes), "");
}

#[test]
fn capabilities_are_few_and_no_new_privileges_come() {
    let Some(silo) = Silo::with_busybox() else { return };
    let status = inside(&silo, &[], "cat /proc/self/status");
    let field = |name| field_of(&status, name).unwrap();
    let capabilities = u64::from_str_radix(&field("CapBnd"), 16).unwrap();
    // No more than Docker's default set.
    assert_eq!(capabilities & !0xa804_25fb, 0, "{capabilities:x}");
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(field("Seccomp"), "2");
    let status = inside(&silo, &["-u", "1000"], "cat /proc/self/status");
    assert_eq!(field_of(&status, "CapEff").unwrap(), "0000000000000000");
}

#[test]
fn seccomp_and_capabilities_refuse_what_docker_refuses() {
    let Some(silo) = Silo::with_busybox() else { return };
    for attempt in [
        "mount -t tmpfs none /tmp",
        "unshare -U true",
        "unshare -m true",
        "hwclock -w",
        "swapoff -a /etc/passwd",
        "date -s 2020-01-01 >/dev/null; date | grep 2020",
        "insmod /etc/passwd",
        "nsenter -t 1 -n true",
        "mknod /tmp/vda b 254 0 && cat /tmp/vda | head -c 1 | grep .",
        "echo 1 > /proc/sys/vm/drop_caches",
    ] {
        let script = format!("{attempt} >/dev/null 2>&1 && echo done || echo refused");
        assert_eq!(inside(&silo, &[], &script), "refused", "{attempt}");
    }
}

#[test]
fn users_are_found_in_the_image() {
    let Some(silo) = Silo::with_busybox() else { return };
    if !needs_root() {
        return;
    }
    assert_eq!(inside(&silo, &[], "id -u; id -g"), "0\n0");
    assert_eq!(
        inside(&silo, &["-u", "user"], "id -u; id -g; id -G; echo $HOME"),
        "1000\n1000\n1000 77\n/home/user"
    );
    assert_eq!(inside(&silo, &["-u", "12:34"], "id -u; id -g"), "12\n34");
    assert_eq!(inside(&silo, &["-u", "user:extra"], "id -u; id -g"), "1000\n77");
    let message = silo.fails(125, &["run", "--rm", "-u", "nobody-here", "busybox", "true"]);
    assert!(message.contains("nobody-here"), "{message}");
    silo.assert_nothing_left(&[]);
}

#[test]
fn streams_can_be_opened_by_their_names() {
    let script = "echo out >/dev/stdout; echo err >/dev/stderr";
    for options in [&[][..], &["--user", "1000"], &["--isolation", "docker", "--user", "1000"]] {
        let Some(silo) = Silo::with_busybox() else { return };
        let args = [&["run", "--rm"], options, &["busybox", "sh", "-c", script]].concat();
        // Nobody but root has other users to be.
        if options.is_empty() || is_root() {
            let ended = silo.run(&args);
            let said = (ended.stdout.as_str(), ended.stderr.as_str());
            assert_eq!(said, ("out\n", "err\n"), "{options:?}");
        }
    }
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&["run", "-d", "--name", "c", "busybox", "sleep", "1000"]);
    assert_eq!(silo.ok(&["exec", "-u", "1000", "c", "sh", "-c", "echo in >/dev/stdout"]), "in");
}

#[test]
fn the_memory_limit_ends_a_guest_that_takes_more() {
    let Some(silo) = Silo::with_busybox() else { return };
    if !needs_root() {
        return;
    }
    let hungry = "head -c 200m /dev/zero | tail -c 200m | wc -c";
    let args = ["run", "--name", "hungry", "--memory", "32m", "busybox", "sh", "-c", hungry];
    silo.run(&args);
    silo.ok(&["run", "--rm", "--memory", "600m", "busybox", "sh", "-c", hungry]);
    let exec =
        ["run", "--name", "eater", "--memory", "32m", "busybox", "tail", "-c", "200m", "/dev/zero"];
    silo.fails(137, &exec);
    assert_eq!(silo.inspect("eater", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
}

#[test]
fn the_limit_on_processes_holds() {
    let Some(silo) = Silo::with_busybox() else { return };
    if !needs_root() {
        return;
    }
    let script =
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done 2>&1 | grep -c -i fork; true";
    let args = ["run", "--rm", "--pids-limit", "6", "busybox", "sh", "-c", script];
    let ended = silo.run(&args);
    assert!(
        ended.stdout.contains("fork")
            || ended.stderr.contains("fork")
            || ended.code != 0
            || ended.stdout.trim() != "0",
        "{ended:?}"
    );
}

#[test]
fn the_limit_on_processor_time_holds() {
    let Some(silo) = Silo::with_busybox() else { return };
    if !needs_root() {
        return;
    }
    // Two seconds of a busy loop at a tenth of a core use two tenths of a second; half of one
    // leaves room for the first period.
    let script = "timeout 2 sh -c 'while :; do :; done'; awk '{print $16 + $17}' /proc/1/stat";
    let ticks: u32 = inside(&silo, &["--cpus", "0.1"], script).trim().parse().unwrap();
    assert!(ticks < 50, "{ticks} hundredths of a second were used");
    let ticks: u32 = inside(&silo, &[], script).trim().parse().unwrap();
    assert!(ticks > 60, "{ticks} hundredths of a second were used");
}

#[test]
fn a_guests_writes_stay_in_its_container() {
    let Some(silo) = Silo::with_busybox() else { return };
    silo.ok(&[
        "run",
        "--name",
        "writer",
        "busybox",
        "sh",
        "-c",
        "echo changed > /etc/silo-note; rm /bin/vi",
    ]);
    assert_eq!(inside(&silo, &[], "cat /etc/silo-note; ls /bin/vi"), "made by umoci\n/bin/vi");
    silo.ok(&["rm", "writer"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn a_guest_finds_no_descriptor_of_the_engine() {
    let Some(silo) = Silo::with_busybox() else { return };
    // No pipe between: the shell holds its ends until it has started all of it.
    let open = inside(&silo, &[], "ls /proc/1/fd; true").replace('\n', " ");
    assert!(open == "0 1 2" || open == "0 1 10 2", "{open}");
}
