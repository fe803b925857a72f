//! A bundle of busybox's, and the runtime with records of its own.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Ended, ended, host};

/// A bundle and a runtime. What runs in it ends, and what is left of it is looked for, when this is
/// dropped.
pub(super) struct Bundle {
    home: TempDir,
    count: Cell<u32>,
    program: PathBuf,
}

impl Bundle {
    /// Busybox's root and the configuration that `spec` writes, with `script` for its shell.
    pub(super) fn new(script: &str) -> Option<Self> {
        if !host::needs_root() {
            return None;
        }
        let archive = host::data("busybox/rootfs.tar")?;
        let home = tempfile::Builder::new().prefix("silo-runtime-").tempdir().unwrap();
        fs::create_dir(home.path().join("rootfs")).unwrap();
        // Where it is named, it must be there for what is in it to be listed.
        fs::create_dir(home.path().join("records")).unwrap();
        let root = home.path().join("rootfs");
        let unpacked = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&root).status();
        assert!(unpacked.unwrap().success());
        let bundle = Self { home, count: Cell::new(0), program: env!("CARGO_BIN_EXE_silo").into() };
        bundle.ok(&["spec"]);
        bundle.change(|config| {
            config["process"]["terminal"] = json!(false);
            config["root"]["readonly"] = json!(false);
            // Its own, so that tests beside each other find nothing of each other's.
            config["linux"]["cgroupsPath"] = json!(format!("/{}", bundle.name()));
        });
        bundle.script(script);
        Some(bundle)
    }

    /// Runs a copy of the program, which nobody else does.
    pub(super) fn copy_program(&mut self) {
        let copy = self.path().join("silo");
        fs::copy(&self.program, &copy).unwrap();
        self.program = copy;
    }

    pub(super) fn path(&self) -> &Path {
        self.home.path()
    }

    pub(super) fn root(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// A name that nobody else has: of the cgroup, and of containers.
    pub(super) fn name(&self) -> String {
        self.path().file_name().unwrap().to_string_lossy().into_owned()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path().join("config.json");
        let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(path, config.to_string()).unwrap();
    }

    pub(super) fn script(&self, script: &str) {
        self.change(|config| config["process"]["args"] = json!(["sh", "-c", script]));
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("runtime").arg("--root").arg(self.records()).args(args);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(self.path()).stdin(Stdio::null());
        command
    }

    pub(super) fn records(&self) -> PathBuf {
        self.path().join("records")
    }

    pub(super) fn run(&self, args: &[&str]) -> Ended {
        ended(&self.command(args).output().unwrap())
    }

    #[track_caller]
    pub(super) fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "runtime {args:?}: {ended:#?}");
        ended.stdout.trim_end_matches('\n').to_owned()
    }

    #[track_caller]
    pub(super) fn fails(&self, code: i32, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, code, "runtime {args:?}: {ended:#?}");
        ended.stderr
    }

    /// What the container prints that runs to its end.
    #[track_caller]
    pub(super) fn says(&self) -> String {
        let id = format!("{}-{}", self.name(), self.count.replace(self.count.get() + 1));
        self.ok(&["run", &id])
    }

    /// Why the container does not run. Nothing is left of it.
    #[track_caller]
    pub(super) fn refused(&self) -> String {
        let told = self.fails(1, &["run", "refused"]);
        assert_eq!(self.ok(&["list", "-q"]), "", "a container is left");
        assert!(self.cgroups().is_empty(), "{:?}", self.cgroups());
        told
    }

    /// Makes a container, whose streams lead nowhere, as those of one that stays must.
    #[track_caller]
    pub(super) fn create(&self, id: &str) {
        let nowhere = || Stdio::from(fs::File::create(self.path().join("output")).unwrap());
        let mut command = self.command(&["create", "--pid-file", "pid", id]);
        let status = command.stdout(nowhere()).stderr(nowhere()).status().unwrap();
        let said = fs::read_to_string(self.path().join("output")).unwrap();
        assert!(status.success(), "{said}");
    }

    pub(super) fn output(&self) -> String {
        fs::read_to_string(self.path().join("output")).unwrap()
    }

    pub(super) fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.ok(&["state", id])).unwrap()
    }

    /// Waits until the container is where `status` says.
    #[track_caller]
    pub(super) fn becomes(&self, id: &str, status: &str) {
        let start = Instant::now();
        while self.state(id)["status"] != status {
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", self.state(id));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The directories in the host's cgroups that are this bundle's.
    pub(super) fn cgroups(&self) -> Vec<PathBuf> {
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
        let each = hierarchies.map(|entry| entry.path().join(self.name()));
        each.chain([Path::new("/sys/fs/cgroup").join(self.name())])
            .filter(|path| path.exists())
            .collect()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let listed = self.run(&["list", "-q"]);
        for id in listed.stdout.lines() {
            self.run(&["delete", "--force", id]);
        }
        if !std::thread::panicking() {
            assert!(self.cgroups().is_empty(), "left behind: {:?}", self.cgroups());
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(!mounts.contains(&*self.path().to_string_lossy()), "{mounts}");
        }
    }
}
