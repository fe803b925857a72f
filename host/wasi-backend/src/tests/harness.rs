//! Runs guests for the tests.

use std::{
    env,
    io::{Read, Write, pipe},
    path::{Path, PathBuf},
    sync::OnceLock,
    thread::{self, JoinHandle},
};

use silo_isolation::{
    Bundle, Exit, ExitStatus, IsolationBackend, Limits, Mount, MountKind, Network, Process,
    Publication, Result, Root, Sandbox, Security, Stdio,
};
use silo_layers::{Digest, Lower, Platform, Snapshot};
use tempfile::TempDir;

use crate::WasiBackend;

/// A container's files and bundle.
pub(super) struct Container {
    pub(super) dir: TempDir,
    pub(super) bundle: Bundle,
    pub(super) stdin: Option<Vec<u8>>,
    pub(super) backend: WasiBackend,
}

/// What a guest did.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) exit: Exit,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// A guest that runs.
pub(super) struct Running {
    pub(super) sandbox: Box<dyn Sandbox>,
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<Vec<u8>>,
}

/// One cache for all tests of a run, so that compiled code is met again.
fn cache() -> PathBuf {
    static CACHE: OnceLock<TempDir> = OnceLock::new();
    CACHE.get_or_init(|| tempfile::tempdir().unwrap()).path().join("wasm")
}

impl Container {
    /// A container whose image holds `/guest.wasm`, which is what it runs.
    pub(super) fn new(guest: impl AsRef<[u8]>) -> Self {
        let container = Self::empty();
        container.image_file("guest.wasm", guest);
        container
    }

    /// A container with an image of no files.
    pub(super) fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            dir.path().join(name)
        };
        let lower = Lower { diff_id: Digest::from_bytes([7; 32]), path: path("lower") };
        let snapshot = Snapshot { lowers: vec![lower], upper: path("upper"), work: path("work") };
        let bundle = Bundle {
            id: "0".repeat(64),
            platform: Platform::wasi(),
            root: Root { snapshot, readonly: false, volatile: false },
            process: Process {
                args: vec!["guest.wasm".to_owned()],
                cwd: "/".to_owned(),
                ..Process::default()
            },
            hostname: "test".to_owned(),
            mounts: Vec::new(),
            network: Network::None,
            access: silo_isolation::NetworkAccess::default(),
            components: Vec::new(),
            limits: Limits::default(),
            security: Security::default(),
            sysctls: std::collections::BTreeMap::new(),
            init: false,
            state_dir: path("state"),
        };
        Self { dir, bundle, stdin: None, backend: WasiBackend::new(cache()) }
    }

    /// Puts a file into the image.
    pub(super) fn image_file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.bundle.root.snapshot.lowers[0].path.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// A file of the container's upper.
    pub(super) fn upper(&self, name: &str) -> PathBuf {
        self.bundle.root.snapshot.upper.join(name)
    }

    /// A file of the host, beside the container.
    pub(super) fn host(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.bundle.process.args.extend(args.into_iter().map(str::to_owned));
        self
    }

    pub(super) fn mount(mut self, destination: &str, kind: MountKind, readonly: bool) -> Self {
        self.bundle.mounts.push(Mount { destination: destination.to_owned(), kind, readonly });
        self
    }

    pub(super) fn volume(self, source: &Path, destination: &str, readonly: bool) -> Self {
        self.mount(destination, MountKind::Bind { source: source.to_owned() }, readonly)
    }

    /// Publishes ports, as `-p`.
    pub(super) fn publish(mut self, ports: &[&str]) -> Self {
        for text in ports {
            self.bundle.access.published.extend(Publication::parse(text).unwrap());
        }
        self
    }

    /// Allows peers, as `--allow-net`.
    pub(super) fn allow(mut self, peers: &[String]) -> Self {
        self.bundle.access.allowed.extend(peers.iter().map(|text| text.parse().unwrap()));
        self
    }

    /// Makes the sandbox, with what drains its output.
    pub(super) fn create(&self) -> Result<Running> {
        assert_eq!(self.backend.admit(&self.bundle), []);
        let (stdin, mut input) = pipe().unwrap();
        let (mut out, stdout) = pipe().unwrap();
        let (mut err, stderr) = pipe().unwrap();
        let stdin = self.stdin.as_ref().map(|_| stdin);
        let sandbox = self.backend.create(&self.bundle, Stdio::Pipes { stdin, stdout, stderr })?;
        let data = self.stdin.clone().unwrap_or_default();
        thread::spawn(move || input.write_all(&data));
        let drain = |reader: &mut dyn Read| {
            let mut data = Vec::new();
            reader.read_to_end(&mut data).unwrap();
            data
        };
        let stdout = thread::spawn(move || drain(&mut out));
        let stderr = thread::spawn(move || drain(&mut err));
        Ok(Running { sandbox, stdout, stderr })
    }

    /// Makes and starts the sandbox.
    pub(super) fn start(&self) -> Running {
        let running = self.create().unwrap();
        running.sandbox.start().unwrap();
        running
    }

    /// Runs the guest to its end.
    pub(super) fn run(&self) -> Output {
        self.start().finish()
    }

    /// Why the guest cannot be made.
    pub(super) fn refused(&self) -> silo_isolation::Error {
        self.create().map(|_| ()).unwrap_err()
    }
}

impl Running {
    /// Waits for the guest's end and collects what it wrote.
    pub(super) fn finish(self) -> Output {
        let exit = self.sandbox.wait().unwrap();
        self.sandbox.delete().unwrap();
        let text = |thread: JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&thread.join().unwrap()).into_owned()
        };
        Output { exit, stdout: text(self.stdout), stderr: text(self.stderr) }
    }
}

impl Output {
    /// What the guest printed, when all went well.
    #[track_caller]
    pub(super) fn ok(self) -> String {
        assert_eq!(self.exit, Exit::new(ExitStatus::Exited(0)), "{self:?}");
        self.stdout
    }

    #[track_caller]
    pub(super) fn trap(self) -> String {
        match self.exit.status {
            ExitStatus::Trapped(message) => message,
            other => panic!("{other:?}"),
        }
    }
}

/// A program that the set-up of the tests provides: `$SILO_TEST_DATA/bin/NAME`, by default below
/// `target/test-data`. `None`, with the reason printed, where it is missing; with `CI=true`
/// that is a failure.
pub(super) fn program(name: &str) -> Option<Vec<u8>> {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/test-data");
    let dir = env::var_os("SILO_TEST_DATA").map_or_else(default, PathBuf::from);
    let path = dir.join("bin").join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let reason = format!("left out: {}: {error}; .ci/setup provides it", path.display());
            assert_ne!(env::var("CI").as_deref(), Ok("true"), "{reason}");
            println!("{reason}");
            None
        }
    }
}
