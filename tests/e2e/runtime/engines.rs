//! Podman, Docker and containerd with this program as their runtime.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::support::{Ended, ended, host};

/// An engine with a store of its own, and its daemon where it has one.
struct Engine {
    home: TempDir,
    client: Vec<String>,
    daemon: Option<Child>,
    /// Options of `run` that have this program be the runtime.
    runtime: Vec<String>,
}

const IMAGE: &str = "docker.io/library/busybox:archive";

impl Engine {
    fn new(client: &[&str]) -> Option<(Self, PathBuf)> {
        let archive = host::data("busybox/docker-archive.tar")?;
        if !host::needs_root() {
            return None;
        }
        let home = tempfile::Builder::new().prefix("silo-engine-").tempdir().unwrap();
        let program = home.path().join("silo-runtime");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_silo"), &program).unwrap();
        let client = client.iter().map(|&word| word.to_owned()).collect();
        Some((Self { home, client, daemon: None, runtime: Vec::new() }, archive))
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_string_lossy().into_owned()
    }

    fn run(&self, args: &[&str]) -> Ended {
        let mut command = Command::new(&self.client[0]);
        command.args(&self.client[1..]).args(args).stdin(Stdio::null());
        ended(&command.output().unwrap())
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "{} {args:?}: {ended:#?}", self.client[0]);
        ended.stdout.trim_end().to_owned()
    }

    /// `run` with this program as the runtime.
    fn start(&self, args: &[&str]) -> Ended {
        let runtime: Vec<_> = self.runtime.iter().map(String::as_str).collect();
        self.run(&[&["run"], &runtime[..], args].concat())
    }

    fn serve(&mut self, mut daemon: Command, ready: &[&str]) {
        let log = fs::File::create(self.path("log")).unwrap();
        let output = log.try_clone().unwrap();
        self.daemon = Some(daemon.stdin(Stdio::null()).stdout(output).stderr(log).spawn().unwrap());
        let start = Instant::now();
        while self.run(ready).code != 0 {
            let log = || fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_mins(1), "{}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What engines of Docker's manner do with a runtime.
    fn lives(&self) {
        let ended = self.start(&["--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 5"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (5, "out\n"), "{ended:?}");
        assert!(ended.stderr.contains("err"), "{ended:?}");
        let terminal = self.start(&["--rm", "-t", IMAGE, "tty"]);
        assert_eq!(terminal.stdout.trim_end(), "/dev/pts/0", "{terminal:?}");
        assert_eq!(self.start(&["--rm", IMAGE, "no-such-program"]).code, 127);
        assert_eq!(self.start(&["--rm", IMAGE, "/etc"]).code, 126);
        let limited = [
            "--rm",
            "--memory",
            "50m",
            "--pids-limit",
            "20",
            IMAGE,
            "sh",
            "-c",
            "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max \
             /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null",
        ];
        assert_eq!(self.start(&limited).stdout, "52428800\n20\n");

        let started =
            self.start(&["-d", "--name", "one", IMAGE, "sh", "-c", "echo log; exec sleep 1000"]);
        assert_eq!(started.code, 0, "{started:?}");
        assert_eq!(
            self.ok(&[
                "exec",
                "one",
                "sh",
                "-c",
                "echo $$ >/tmp/x; cat /proc/1/cmdline | tr '\\0' ' '"
            ]),
            "sleep 1000"
        );
        assert_eq!(self.run(&["exec", "one", "sh", "-c", "exit 7"]).code, 7);
        assert_eq!(self.ok(&["exec", "-t", "one", "tty"]).trim_end(), "/dev/pts/0");
        assert_eq!(self.ok(&["logs", "one"]), "log");
        self.ok(&["pause", "one"]);
        self.ok(&["unpause", "one"]);
        self.ok(&["stop", "-t", "0", "one"]);
        assert_eq!(self.ok(&["inspect", "-f", "{{.State.ExitCode}}", "one"]), "137");
        self.ok(&["start", "one"]);
        self.ok(&["rm", "-f", "one"]);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.run(&["rm", "-f", "one"]);
        if let Some(daemon) = &mut self.daemon {
            let pid = rustix::process::Pid::from_child(daemon);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = daemon.wait();
        }
        let home = self.home.path().to_string_lossy().into_owned();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        let mut own: Vec<_> = own.filter(|path| path.starts_with(&home)).collect();
        own.sort_by_key(|path| std::cmp::Reverse(path.len()));
        for path in own {
            let _ = rustix::mount::unmount(Path::new(path), rustix::mount::UnmountFlags::DETACH);
        }
    }
}

#[test]
fn podman_runs_containers_by_it() {
    let Some((mut podman, archive)) = Engine::new(&["podman"]) else { return };
    let flags =
        ["--root", "--runroot", "--runtime"].into_iter().zip(["root", "run", "silo-runtime"]);
    let flags = flags.flat_map(|(flag, name)| [flag.to_owned(), podman.path(name)]);
    let flags: Vec<_> = flags.collect();
    podman.client.extend(flags);
    podman
        .client
        .extend(["--cgroup-manager", "cgroupfs", "--events-backend", "file"].map(str::to_owned));
    podman.runtime = ["--network", "none"].map(str::to_owned).into();
    podman.ok(&["load", "-q", "-i", host::text(&archive)]);
    podman.lives();
}

#[test]
fn docker_runs_containers_by_it() {
    let Some((mut docker, archive)) = Engine::new(&["docker"]) else { return };
    let socket = format!("unix://{}", docker.path("sock"));
    docker.client.extend(["-H".to_owned(), socket.clone()]);
    let mut daemon = Command::new("dockerd");
    daemon.args(["--data-root", &docker.path("data"), "--exec-root", &docker.path("run")]);
    daemon.args(["--pidfile", &docker.path("pid"), "-H", &socket, "--bridge", "none"]);
    daemon.args(["--iptables=false", "--ip6tables=false"]);
    daemon.args(["--add-runtime", &format!("silo={}", docker.path("silo-runtime"))]);
    docker.serve(daemon, &["version"]);
    docker.runtime = ["--runtime", "silo", "--network", "none"].map(str::to_owned).into();
    docker.ok(&["load", "-q", "-i", host::text(&archive)]);
    docker.lives();
}

#[test]
fn containerd_runs_containers_by_it() {
    let Some((mut containerd, _)) = Engine::new(&["ctr"]) else { return };
    let Some(archive) = host::data("busybox/oci-gzip.tar") else { return };
    let socket = containerd.path("sock");
    let config = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\n[grpc]\naddress = {socket:?}\n",
        containerd.path("root"),
        containerd.path("state"),
    );
    fs::write(containerd.path("config.toml"), config).unwrap();
    containerd.client.extend(["-a".to_owned(), socket]);
    let mut daemon = Command::new("containerd");
    daemon.args(["-c", &containerd.path("config.toml")]);
    containerd.serve(daemon, &["version"]);
    containerd.runtime = vec!["--runc-binary".to_owned(), containerd.path("silo-runtime")];
    containerd.ok(&["image", "import", host::text(&archive)]);
    let image = containerd.ok(&["image", "ls", "-q"]);
    let ended = containerd.start(&["--rm", &image, "c", "sh", "-c", "echo out; exit 5"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (5, "out\n"), "{ended:?}");
    let ended = containerd.start(&["-d", &image, "c", "sleep", "1000"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(containerd.ok(&["task", "exec", "--exec-id", "e", "c", "echo", "in"]), "in");
    containerd.ok(&["task", "pause", "c"]);
    assert!(containerd.ok(&["task", "ls"]).contains("PAUSED"));
    containerd.ok(&["task", "resume", "c"]);
    assert!(containerd.ok(&["task", "metrics", "c"]).contains("memory"));
    containerd.ok(&["task", "kill", "-s", "KILL", "c"]);
    // It exits with the task's code, once that has ended.
    let code = containerd.run(&["task", "rm", "--force", "c"]).code;
    assert!(matches!(code, 0 | 137), "{code}");
    containerd.ok(&["container", "rm", "c"]);
}
