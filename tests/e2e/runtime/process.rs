//! What a container's processes are: identity, limits, filter, terminal.

use std::{
    fs,
    io::{IoSliceMut, Read as _},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixListener},
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::json;

use super::Bundle;

#[test]
fn identity_and_limits_are_those_of_the_configuration() {
    let script =
        "id -u; id -g; id -G; umask; pwd; ulimit -n; grep -E '^(Cap|NoNew)' /proc/self/status";
    let Some(bundle) = Bundle::new(script) else { return };
    bundle.change(|config| {
        config["process"]["user"] =
            json!({ "uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 0o77 });
        config["process"]["cwd"] = json!("/tmp/made/for/it");
        config["process"]["rlimits"] =
            json!([{ "type": "RLIMIT_NOFILE", "hard": 100, "soft": 50 }]);
        config["process"]["capabilities"] = json!({
            "bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
            "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
        });
        config["process"]["noNewPrivileges"] = json!(true);
    });
    // An ambient capability is what a program that is no one's special has of these.
    assert_eq!(
        bundle.says(),
        "7\n8\n8 9 10\n0077\n/tmp/made/for/it\n50\n\
         CapInh:\t0000000000000020\nCapPrm:\t0000000000000020\nCapEff:\t0000000000000020\n\
         CapBnd:\t0000000000000021\nCapAmb:\t0000000000000020\nNoNewPrivs:\t1"
    );
}

#[test]
fn a_capability_that_nobody_knows_is_passed_over_and_told() {
    let Some(bundle) = Bundle::new("grep CapBnd /proc/self/status") else { return };
    bundle.change(|config| {
        config["process"]["capabilities"]["bounding"] = json!(["CAP_KILL", "CAP_OF_TOMORROW"]);
    });
    let ended = bundle.run(&["run", "c"]);
    assert_eq!(ended.stdout, "CapBnd:\t0000000000000020\n", "{ended:?}");
    assert!(ended.stderr.contains("[CAP_OF_TOMORROW]"), "{ended:?}");
}

#[test]
fn a_capability_that_cannot_be_ambient_is_told() {
    let Some(bundle) = Bundle::new("grep CapAmb /proc/self/status") else { return };
    bundle.change(|config| {
        let sets = config["process"]["capabilities"].as_object_mut().unwrap();
        sets.insert("inheritable".to_owned(), json!(["CAP_KILL"]));
        sets.insert("ambient".to_owned(), json!(["CAP_KILL", "CAP_AUDIT_WRITE"]));
    });
    let ended = bundle.run(&["run", "c"]);
    assert_eq!(ended.stdout, "CapAmb:\t0000000000000020\n", "{ended:?}");
    assert!(ended.stderr.contains("can't raise ambient capability CAP_AUDIT_WRITE: "), "{ended:?}");
    assert!(!ended.stderr.contains("CAP_KILL"), "{ended:?}");
}

#[test]
fn a_filter_refuses_what_its_profile_says() {
    let Some(bundle) = Bundle::new("mkdir /x; echo $?; grep Seccomp: /proc/self/status") else {
        return;
    };
    for no_new_privileges in [true, false] {
        bundle.change(|config| {
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{ "names": ["mkdir", "mkdirat", "accept4", "recvmsg", "sendmsg"],
                    "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }],
            });
        });
        assert_eq!(bundle.says(), "1\nSeccomp:\t2", "{no_new_privileges}");
    }
    bundle.change(|config| config["linux"]["seccomp"]["defaultAction"] = json!("SCMP_ACT_NOTIFY"));
    assert!(bundle.refused().contains("linux.seccomp"));
}

#[test]
fn exec_runs_beside_the_first_process_with_what_is_asked_for() {
    let Some(bundle) = Bundle::new("exec sleep 1000") else { return };
    bundle.create("c");
    bundle.ok(&["start", "c"]);
    let shell = |options: &[&str], script: &str| {
        let args = [&["exec"], options, &["c", "sh", "-c", script]].concat();
        bundle.run(&args)
    };
    let ended =
        shell(&["-e", "A=b", "--cwd", "/tmp", "-u", "3:4"], "echo $A $HOME; pwd; id; exit 6");
    assert_eq!(ended.stdout, "b /\n/tmp\nuid=3 gid=4\n");
    assert_eq!(ended.code, 6);
    assert_eq!(shell(&[], "cat /proc/self/cgroup").stdout, shell(&[], "cat /proc/1/cgroup").stdout);
    let told = bundle.fails(255, &["exec", "c", "no-such-program"]);
    assert!(told.contains("executable file not found"), "{told}");
    let process = json!({ "args": ["sh", "-c", "echo from a file"], "cwd": "/",
        "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    fs::write(bundle.path().join("process"), process.to_string()).unwrap();
    assert_eq!(bundle.ok(&["exec", "-p", "process", "c"]), "from a file");
    let mut detached =
        bundle.command(&["exec", "-d", "--pid-file", "second", "c", "sleep", "1000"]);
    assert!(detached.stdout(std::process::Stdio::null()).status().unwrap().success());
    let pid = fs::read_to_string(bundle.path().join("second")).unwrap();
    assert!(bundle.ok(&["ps", "-f", "json", "c"]).contains(&pid));
    assert!(bundle.fails(255, &["exec", "-p", "none", "c"]).contains("none"));
}

#[test]
fn processes_are_scheduled_as_the_configuration_says() {
    let Some(bundle) = Bundle::new("cut -d' ' -f19,41 /proc/self/stat; ionice; exec sleep 1000")
    else {
        return;
    };
    bundle.change(|config| {
        config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 5 });
        config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
    });
    bundle.create("c");
    bundle.ok(&["start", "c"]);
    let start = std::time::Instant::now();
    while bundle.output().lines().count() < 2 {
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "{}", bundle.output());
    }
    assert_eq!(bundle.output(), "5 3\nbest-effort: prio 6\n");
    let process = json!({ "args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/",
        "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 },
        "execCPUAffinity": { "initial": "0", "final": "0" } });
    fs::write(bundle.path().join("process"), process.to_string()).unwrap();
    assert_eq!(bundle.ok(&["exec", "-p", "process", "c"]), "Cpus_allowed_list:\t0");
}

#[test]
fn a_terminal_is_sent_where_engines_listen() {
    let Some(bundle) = Bundle::new("tty; stty size; exit 4") else { return };
    bundle.change(|config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["consoleSize"] = json!({ "height": 10, "width": 20 });
    });
    assert!(bundle.fails(1, &["create", "c"]).contains("console socket"));
    let socket = bundle.path().join("console.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    bundle.ok(&["create", "--console-socket", "console.sock", "c"]);
    let (connection, _) = listener.accept().unwrap();
    let mut name = [0; 64];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    rustix::net::recvmsg(&connection, &mut [IoSliceMut::new(&mut name)], &mut ancillary, flags)
        .unwrap();
    let master: OwnedFd = ancillary
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })
        .expect("a terminal");
    bundle.ok(&["start", "c"]);
    let mut said = Vec::new();
    // It ends with EIO, which is how a terminal says that nobody has it open.
    let _ = fs::File::from(master).read_to_end(&mut said);
    assert_eq!(String::from_utf8_lossy(&said), "/dev/pts/0\r\n10 20\r\n");
    bundle.becomes("c", "stopped");
}

#[test]
fn streams_can_be_opened_by_their_names() {
    let script = "echo out >/dev/stdout; echo err >/dev/stderr";
    let Some(bundle) = Bundle::new(script) else { return };
    bundle.change(|config| config["process"]["user"] = json!({ "uid": 7, "gid": 8 }));
    let ended = bundle.run(&["run", "c"]);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out\n", "err\n"), "{ended:?}");
}

#[test]
fn descriptors_are_given_where_they_are_asked_for_and_no_others() {
    let Some(bundle) = Bundle::new("ls /proc/self/fd | wc -l; cat <&3") else { return };
    let given = bundle.path().join("given");
    fs::write(&given, "given\n").unwrap();
    let run = |options: &str| {
        let program = env!("CARGO_BIN_EXE_silo");
        let records = bundle.records();
        let script = format!(
            "exec 3<{}; exec {program} runtime --root {} run {options} c",
            given.display(),
            records.display()
        );
        let mut shell = std::process::Command::new("sh");
        let output = shell.args(["-c", &script]).current_dir(bundle.path()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // The third of the first is the directory that is listed.
    assert_eq!(run("--preserve-fds 1"), "5\ngiven\n");
    assert_eq!(run(""), "4\n");
    // Those that are not open stay so: none of the runtime's own is there in their place.
    assert_eq!(run("--preserve-fds 5"), "5\ngiven\n");
}

#[test]
fn a_hook_in_the_container_runs_behind_its_filter() {
    let Some(bundle) = Bundle::new("true") else { return };
    bundle.change(|config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS" }],
        });
        config["hooks"] = json!({ "startContainer": [
            { "path": "/bin/true", "args": ["true"] },
            { "path": "/bin/busybox", "args": ["busybox", "mkdir", "/x"] },
        ] });
    });
    let told = bundle.refused();
    assert!(told.contains("error running startContainer hook #1"), "{told}");
    assert!(told.contains("bad system call"), "{told}");
}

#[test]
fn memory_is_of_the_nodes_that_the_configuration_says() {
    let Some(bundle) = Bundle::new("sed -n '2s/.* \\(bind[^ ]*\\) .*/\\1/p' /proc/self/numa_maps")
    else {
        return;
    };
    bundle.change(|config| {
        config["linux"]["memoryPolicy"] =
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] });
    });
    assert_eq!(bundle.says(), "bind=static:0");
    for mode in ["MPOL_DEFAULT", "MPOL_LOCAL"] {
        bundle.change(|config| config["linux"]["memoryPolicy"] = json!({ "mode": mode }));
        assert_eq!(bundle.says(), "");
    }
    bundle.change(|config| config["linux"]["memoryPolicy"] = json!({ "mode": "BIND" }));
    assert!(bundle.refused().contains("invalid memory policy mode"));
}

#[test]
fn labels_of_selinux_are_refused_where_there_is_none() {
    let Some(bundle) = Bundle::new("true") else { return };
    if std::path::Path::new("/sys/fs/selinux/status").exists() {
        return;
    }
    bundle.change(|config| config["process"]["selinuxLabel"] = json!("system_u:system_r:x_t:s0"));
    assert!(bundle.refused().contains("selinux is disabled or not supported"));
    bundle.change(|config| {
        config["process"]["selinuxLabel"] = json!("");
        config["linux"]["mountLabel"] = json!("system_u:object_r:x_t:s0");
    });
    assert!(bundle.refused().contains("linux.mountLabel"));
}

#[test]
fn a_further_process_is_put_in_a_cgroup_below_the_containers() {
    let Some(bundle) = Bundle::new("exec sleep 1000") else { return };
    bundle.create("c");
    bundle.ok(&["start", "c"]);
    for directory in bundle.cgroups() {
        fs::create_dir(directory.join("below")).unwrap();
    }
    // Of version 1 a cgroup of some controllers takes no process as it is made.
    let unified = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let below = if unified { "below" } else { "pids:below" };
    let cgroups = bundle.ok(&["exec", "--cgroup", below, "c", "cat", "/proc/self/cgroup"]);
    assert!(cgroups.lines().any(|line| line.ends_with("/below")), "{cgroups}");
    let told = bundle.fails(255, &["exec", "--cgroup", "none", "c", "true"]);
    assert!(told.contains("none"), "{told}");
    // Whatever it is called, it is below.
    bundle.fails(255, &["exec", "--cgroup", "../../none", "c", "true"]);
}
