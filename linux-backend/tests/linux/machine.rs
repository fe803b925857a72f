//! An image of busybox, bundles of it, and what their guests print.

use std::{
    fs,
    io::{PipeReader, Read as _, pipe},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use silo_isolation::{
    Bundle, Exit, ExitStatus, IsolationBackend as _, Limits, Network, Process, Root, Sandbox,
    Security, Stdio,
};
use silo_layers::{Digest, Lower, Platform, Snapshot};
use silo_linux::LinuxBackend;
use tempfile::TempDir;

const BUSYBOX: &str = "/bin/busybox";
const APPLETS: &[&str] = &[
    "cat", "chmod", "chown", "chroot", "cmp", "date", "echo", "grep", "head", "hostname", "id",
    "ip", "ls", "mkdir", "mknod", "mount", "mv", "pwd", "readlink", "rm", "sh", "sleep", "stat",
    "stty", "tail", "touch", "tr", "true", "tty", "umount", "unshare", "wc",
];

/// Whether this machine can run the tests; if not, says why.
///
/// # Panics
/// Where `CI` is set: there, every test runs.
pub(crate) fn is_able() -> bool {
    let missing = if !Path::new(BUSYBOX).exists() {
        Some("there is no /bin/busybox (Debian's busybox-static)")
    } else if !is_root() && !user_namespaces() {
        Some("an unprivileged user cannot make user namespaces here")
    } else {
        None
    };
    missing.is_none_or(skip)
}

/// Leaves a test out.
pub(crate) fn skip(why: &str) -> bool {
    assert!(std::env::var_os("CI").is_none(), "cannot run: {why}");
    println!("skipped: {why}");
    false
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn user_namespaces() -> bool {
    let most = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    most.trim() != "0"
}

/// A directory with an image's layer and what its containers leave. Removed when dropped.
pub(crate) struct Machine {
    scratch: TempDir,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Machine {
    pub(crate) fn new() -> Self {
        let scratch = tempfile::Builder::new().prefix("silo-linux-").tempdir().unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let machine = Self { scratch };
        machine.fill();
        machine
    }

    pub(crate) fn lower(&self) -> Lower {
        Lower { diff_id: Digest::of(b"busybox"), path: self.path("layer") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn fill(&self) {
        let layer = self.path("layer");
        for directory in ["bin", "etc", "tmp", "home"] {
            fs::create_dir_all(layer.join(directory)).unwrap();
        }
        fs::copy(BUSYBOX, layer.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", layer.join("bin").join(applet)).unwrap();
        }
        fs::write(layer.join("greeting"), "hello\n").unwrap();
        // As in images made on a machine with systemd-resolved.
        symlink("../run/resolve/stub.conf", layer.join("etc/resolv.conf")).unwrap();
        let programs = [
            ("plain", "no program\n", 0o644),
            ("orphan", "#!/nowhere/sh\n", 0o755),
            ("noise", "\0\x01\x02", 0o755),
        ];
        for (name, content, mode) in programs {
            let path = layer.join("bin").join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    /// A bundle that runs `args`.
    pub(crate) fn bundle(&self, args: &[&str]) -> Bundle {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:08x}{number:056x}", std::process::id());
        let directory = self.path(&id);
        let [upper, work, state_dir] = ["upper", "work", "state"].map(|name| directory.join(name));
        for directory in [&upper, &work, &state_dir] {
            fs::create_dir_all(directory).unwrap();
        }
        Bundle {
            hostname: "box".to_owned(),
            id,
            platform: Platform::linux(),
            root: Root {
                snapshot: Snapshot { lowers: vec![self.lower()], upper, work },
                readonly: false,
                volatile: false,
            },
            process: process(args),
            mounts: Vec::new(),
            network: Network::None,
            access: silo_isolation::NetworkAccess::default(),
            components: Vec::new(),
            limits: Limits::default(),
            security: Security::default(),
            sysctls: std::collections::BTreeMap::new(),
            init: false,
            state_dir,
        }
    }

    /// A bundle that runs a line of shell.
    pub(crate) fn shell(&self, line: &str) -> Bundle {
        self.bundle(&["sh", "-c", line])
    }
}

pub(crate) fn process(args: &[&str]) -> Process {
    Process {
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: vec!["PATH=/bin:/usr/bin".to_owned()],
        cwd: "/".to_owned(),
        user: None,
        terminal: false,
    }
}

/// How a guest ended and what it printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A sandbox that was started, with our ends of its pipes.
pub(crate) struct Running {
    pub(crate) sandbox: Box<dyn Sandbox>,
    pub(crate) out: PipeReader,
    err: PipeReader,
}

pub(crate) fn pipes() -> (Stdio, PipeReader, PipeReader) {
    let (out, stdout) = pipe().unwrap();
    let (err, stderr) = pipe().unwrap();
    (Stdio::Pipes { stdin: None, stdout, stderr }, out, err)
}

/// Admits, creates and starts.
pub(crate) fn start(bundle: &Bundle) -> Running {
    let refusals = LinuxBackend::new().admit(bundle);
    assert!(refusals.is_empty(), "{refusals:?}");
    let (stdio, out, err) = pipes();
    let sandbox = LinuxBackend::new()
        .create(bundle, stdio)
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    sandbox.start().unwrap_or_else(|error| panic!("{}", chain(&error)));
    Running { sandbox, out, err }
}

/// From bundle to deleted sandbox.
pub(crate) fn run(bundle: &Bundle) -> Ran {
    start(bundle).finish()
}

/// What a guest that succeeds prints.
pub(crate) fn output(bundle: &Bundle) -> String {
    let ran = run(bundle);
    assert_eq!(ran.exit.status, ExitStatus::Exited(0), "{ran:?}");
    ran.out
}

impl Running {
    /// Waits for the line `ready`.
    pub(crate) fn ready(&mut self) {
        let mut line = [0; 6];
        self.out.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"ready\n");
    }

    pub(crate) fn finish(self) -> Ran {
        let Self { sandbox, out, err } = self;
        let (out, err) = (read(out), read(err));
        let exit = sandbox.wait().unwrap();
        sandbox.delete().unwrap();
        Ran { exit, out: out.join().unwrap(), err: err.join().unwrap() }
    }
}

pub(crate) fn read(mut stream: impl std::io::Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
