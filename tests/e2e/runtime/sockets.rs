//! Sockets by which a container and those outside speak: of a program that answers its calls, of one that
//! waits to hear that it is ready, and those that it gets from whoever starts it.

use std::{
    fs,
    io::{IoSliceMut, Read as _},
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    process::Stdio,
    time::Duration,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::{Value, json};

use super::Bundle;

/// What comes over a connection: a text, and a descriptor.
fn receive(connection: &UnixStream) -> (Vec<u8>, OwnedFd) {
    let mut text = vec![0; 8192];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut text)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let count = rustix::net::recvmsg(connection, parts, &mut ancillary, flags).unwrap().bytes;
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    text.truncate(count);
    (text, descriptor.expect("a descriptor"))
}

/// The configuration of a filter that has a program outside asked about mkdir(2).
fn asks_about_mkdir(bundle: &Bundle, no_new_privileges: bool) {
    bundle.change(|config| {
        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": bundle.path().join("agent"),
            "listenerMetadata": "of the test", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }],
        });
    });
}

#[test]
fn a_program_outside_gets_what_it_answers_calls_by() {
    let Some(bundle) = Bundle::new("mkdir /x 2>&1; exec sleep 1000") else { return };
    let listener = UnixListener::bind(bundle.path().join("agent")).unwrap();
    for no_new_privileges in [false, true] {
        asks_about_mkdir(&bundle, no_new_privileges);
        bundle.create("c");
        let (connection, _) = listener.accept().unwrap();
        let (text, answers) = receive(&connection);
        let told: Value = serde_json::from_slice(&text).unwrap();
        let pid: u32 = fs::read_to_string(bundle.path().join("pid")).unwrap().parse().unwrap();
        assert_eq!((&told["fds"], &told["pid"]), (&json!(["seccompFd"]), &json!(pid)), "{told}");
        assert_eq!(told["metadata"], "of the test");
        assert_eq!(
            (&told["state"]["id"], &told["state"]["status"]),
            (&json!("c"), &json!("creating"))
        );
        bundle.ok(&["start", "c"]);
        let call =
            fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&answers)));
        assert!(call.unwrap().to_string_lossy().contains("seccomp notify"));
        // Whose calls nobody answers any more is told that there are none such.
        drop(answers);
        let start = std::time::Instant::now();
        while !bundle.output().contains("Function not implemented") {
            assert!(start.elapsed() < Duration::from_secs(20), "{}", bundle.output());
            std::thread::sleep(Duration::from_millis(10));
        }
        bundle.ok(&["delete", "--force", "c"]);
    }
}

#[test]
fn a_further_process_has_a_listener_of_its_own() {
    let Some(bundle) = Bundle::new("exec sleep 1000") else { return };
    let listener = UnixListener::bind(bundle.path().join("agent")).unwrap();
    asks_about_mkdir(&bundle, true);
    bundle.create("c");
    drop(listener.accept().unwrap());
    bundle.ok(&["start", "c"]);
    let mut further = bundle.command(&["exec", "c", "mkdir", "/y"]);
    let mut further = further.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (connection, _) = listener.accept().unwrap();
    let (text, answers) = receive(&connection);
    let told: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(told["state"]["status"], "running");
    assert_ne!(told["pid"], told["state"]["pid"]);
    drop(answers);
    let mut said = String::new();
    further.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!further.wait().unwrap().success());
    assert!(said.contains("Function not implemented"), "{said}");
}

#[test]
fn where_nobody_could_answer_nothing_runs() {
    let Some(bundle) = Bundle::new("true") else { return };
    asks_about_mkdir(&bundle, true);
    assert!(bundle.refused().contains("failed to connect with seccomp agent"));
    bundle.change(|config| config["linux"]["seccomp"]["listenerPath"] = json!(""));
    assert!(bundle.refused().contains("listenerPath"));
    bundle.change(|config| config["linux"]["seccomp"]["syscalls"][0]["names"] = json!(["sendmsg"]));
    assert!(bundle.refused().contains("cannot be used for the sendmsg syscall"));
    bundle.change(|config| config["linux"]["seccomp"]["defaultAction"] = json!("SCMP_ACT_NOTIFY"));
    assert!(bundle.refused().contains("cannot be used as default action"));
}

#[test]
fn whoever_waits_for_it_hears_that_the_container_is_ready() {
    // Busybox has nothing that speaks to such a socket: the test does, where the container's is.
    let Some(bundle) = Bundle::new("echo $NOTIFY_SOCKET; ls /run/notify; exec sleep 1000") else {
        return;
    };
    let host = UnixDatagram::bind(bundle.path().join("host")).unwrap();
    host.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let with_host = |args: &[&str]| {
        let mut command = bundle.command(args);
        command.env("NOTIFY_SOCKET", bundle.path().join("host"));
        let output = fs::File::create(bundle.path().join("output")).unwrap();
        command.stdout(output.try_clone().unwrap()).stderr(output);
        command
    };
    assert!(with_host(&["create", "--pid-file", "pid", "c"]).status().unwrap().success());
    let mut starting = bundle.command(&["start", "c"]);
    starting.env("NOTIFY_SOCKET", bundle.path().join("host"));
    let mut starting = starting.spawn().unwrap();
    let start = std::time::Instant::now();
    while bundle.output() != "/run/notify/notify.sock\nnotify.sock\n" {
        assert!(start.elapsed() < Duration::from_secs(20), "{}", bundle.output());
        std::thread::sleep(Duration::from_millis(10));
    }
    let own = UnixDatagram::unbound().unwrap();
    own.connect(bundle.records().join("c/notify/notify.sock")).unwrap();
    own.send(b"STATUS=nearly\n").unwrap();
    assert!(starting.try_wait().unwrap().is_none(), "it is not ready yet");
    own.send(b"STATUS=done\nREADY=1").unwrap();
    let mut text = [0; 64];
    let mut next = || {
        let count = host.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..count]).into_owned()
    };
    let pid = fs::read_to_string(bundle.path().join("pid")).unwrap();
    assert_eq!([next(), next(), next()], ["READY=1\n", &format!("MAINPID={pid}\n"), "BARRIER=1"]);
    // What the barrier came with was dropped by a read that takes no descriptors.
    assert!(starting.wait().unwrap().success());
}

#[test]
fn sockets_that_others_have_connected_to_are_passed_on() {
    let Some(bundle) = Bundle::new("echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; cat <&3") else {
        return;
    };
    fs::write(bundle.path().join("given"), "given\n").unwrap();
    let run = |pid: &str| {
        let program = env!("CARGO_BIN_EXE_silo");
        let records = bundle.records();
        let script = format!(
            "exec 3<given; export LISTEN_FDS=1 LISTEN_FDNAMES=a {pid}; \
             exec {program} runtime --root {} run c",
            records.display()
        );
        let mut shell = std::process::Command::new("sh");
        let output = shell.args(["-c", &script]).current_dir(bundle.path()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(run("LISTEN_PID=$$"), "1 1 a\ngiven\n");
    assert_eq!(run("A=B"), "1 1 a\ngiven\n");
    // They are another's.
    assert_eq!(run("LISTEN_PID=1"), "\n");
}
