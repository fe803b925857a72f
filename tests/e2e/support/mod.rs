//! What the tests share: a `silo` with a store of its own, images, and what a run leaves behind.

pub(crate) mod guests;
pub(crate) mod host;
pub(crate) mod layout;
pub(crate) mod transcript;

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

pub(crate) use self::{host::data, layout::Layout};

/// The user as whom unprivileged tests run.
const USER: u32 = 1000;

pub(crate) const NEWUIDMAP: &str = "/usr/bin/newuidmap";

/// The program with a store of its own, which goes, containers included, when this is dropped.
pub(crate) struct Silo {
    home: TempDir,
    program: PathBuf,
    user: Option<u32>,
    /// Files that its processes see in other files' places.
    binds: Vec<(PathBuf, &'static str)>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Silo {
    /// An empty store, as the user who runs the tests.
    pub(crate) fn new() -> Self {
        let home = tempfile::Builder::new().prefix("silo-e2e-").tempdir().expect("a directory");
        // Another build than the one beside the tests, where the variable names one.
        let program = std::env::var_os("SILO_TEST_PROGRAM");
        let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_silo").into());
        Self { home, program: program.into(), user: None, binds: Vec::new() }
    }

    /// An empty store of an unprivileged user, in a place that such a user can reach.
    pub(crate) fn unprivileged() -> Self {
        let mut silo = Self::new();
        if host::is_root() {
            let program = silo.home.path().join("silo");
            fs::copy(&silo.program, &program).expect("a copy of the program");
            silo.program = program;
            fs::set_permissions(silo.home.path(), fs::Permissions::from_mode(0o755)).unwrap();
            chown(silo.home.path(), Some(USER), Some(USER)).unwrap();
            silo.user = Some(USER);
        }
        silo
    }

    /// The same of a user to whom the host lends ids. Needs root, and newuidmap(1).
    pub(crate) fn with_lent_ids() -> Option<Self> {
        if !host::needs_root() {
            return None;
        }
        if !Path::new(NEWUIDMAP).exists() {
            host::leave_out("there is no newuidmap (Debian's uidmap)");
            return None;
        }
        let mut silo = Self::unprivileged();
        let lent = silo.file("lent", format!("{USER}:{}:65536\n", Self::FIRST_LENT));
        silo.see(lent.clone(), "/etc/subuid");
        silo.see(lent, "/etc/subgid");
        Some(silo)
    }

    /// The id on the host that is 1 inside, where ids are lent.
    pub(crate) const FIRST_LENT: u32 = 0x1000_0000;

    /// Has all processes from here on see `file` in the place of another.
    pub(crate) fn see(&mut self, file: PathBuf, place: &'static str) {
        self.binds.push((file, place));
    }

    /// Another program than the one built beside the tests.
    pub(crate) fn with_program(program: &Path) -> Self {
        let mut silo = Self::new();
        program.clone_into(&mut silo.program);
        silo
    }

    /// The busybox image as `busybox`.
    pub(crate) fn with_busybox() -> Option<Self> {
        let archive = data("busybox/docker-archive.tar")?;
        let silo = Self::new();
        silo.ok(&["load", "-q", "-i", host::text(&archive)]);
        silo.ok(&["tag", "busybox:archive", "busybox"]);
        Some(silo)
    }

    /// The program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// A directory of this test's own.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The store.
    pub(crate) fn root(&self) -> PathBuf {
        self.home.path().join("root")
    }

    /// A file of this test's own.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home.path().join(name);
        fs::write(&path, content).expect("a file");
        path
    }

    /// `silo --root ROOT ARGS`, with an environment that the caller's does not change.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = match self.user {
            None => Command::new(&self.program),
            Some(user) => {
                let mut command = self.seeing("setpriv");
                command.args([format!("--reuid={user}"), format!("--regid={user}")]);
                command.arg("--clear-groups").arg(&self.program);
                command
            }
        };
        command.arg("--root").arg(self.root()).args(args);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home.path()).env("LC_ALL", "C.UTF-8");
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    /// A command that sees what is bound in other files' places, in mounts of its own.
    fn seeing(&self, program: &str) -> Command {
        if self.binds.is_empty() {
            return Command::new(program);
        }
        let mut command = Command::new("unshare");
        let binds = "while [ \"$1\" != -- ]; do mount --bind \"$1\" \"$2\" || exit; shift 2; done; shift; exec \"$@\"";
        command.args(["--mount", "--propagation", "private", "sh", "-c", binds, "sh"]);
        for (file, place) in &self.binds {
            command.arg(file).arg(place);
        }
        command.args(["--", program]);
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        ended(&self.command(args).output().expect("the program starts"))
    }

    /// Runs a command that succeeds; what it prints, without the last newline.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "silo {args:?}: {ended:#?}");
        ended.stdout.trim_end_matches('\n').to_owned()
    }

    /// Runs a command that fails with `code`; its message.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, code, "silo {args:?}: {ended:#?}");
        ended.stderr
    }

    /// Runs a command with `input` as its standard input.
    pub(crate) fn with_input(&self, args: &[&str], input: &[u8]) -> Ended {
        let mut child = self.spawn(args);
        child.stdin.take().expect("a pipe").write_all(input).expect("the input is taken");
        ended(&child.wait_with_output().expect("the program ends"))
    }

    /// Starts a command, all its streams being pipes.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the program starts")
    }

    /// A field of `inspect`.
    #[track_caller]
    pub(crate) fn inspect(&self, name: &str, template: &str) -> String {
        self.ok(&["inspect", "--format", template, name])
    }

    /// The process ids of whatever runs with this store in its command line.
    pub(crate) fn processes(&self) -> Vec<u32> {
        host::processes_naming(host::text(&self.root()))
    }

    /// Asserts that no container of this store left anything on the host.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self, ids: &[String]) {
        let root = self.root();
        wait_until("supervisors to end", || self.processes().is_empty());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounted: Vec<&str> =
            mounts.lines().filter(|line| line.contains(host::text(&root))).collect();
        assert!(mounted.is_empty(), "mounts are left: {mounted:#?}");
        for folder in ["containers", "names"] {
            let left = visible_entries(&root.join(folder));
            assert!(left.is_empty(), "{folder} is not empty: {left:?}");
        }
        let groups: Vec<PathBuf> = host::control_groups()
            .into_iter()
            .filter(|path| ids.iter().any(|id| path.to_string_lossy().contains(id.as_str())))
            .collect();
        assert!(groups.is_empty(), "control groups are left: {groups:#?}");
    }
}

impl Drop for Silo {
    fn drop(&mut self) {
        let Ok(listed) = self.command(&["ps", "-aq"]).output() else { return };
        for id in String::from_utf8_lossy(&listed.stdout).lines() {
            let _ = self.command(&["rm", "-f", id]).output();
        }
    }
}

/// What is hidden in a directory.
pub(crate) fn dotted_entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with('.')).collect()
}

/// What is in a directory of the store, but for its own lock.
pub(crate) fn visible_entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.starts_with('.')).collect()
}

pub(crate) fn ended(output: &Output) -> Ended {
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits for what another process does; a minute is far more than it takes.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !done() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Snapshots with what differs from run to run replaced: ids, digests, paths, times.
pub(crate) fn filters(silo: &Silo) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.add_filter(&escaped(host::text(silo.home())), "[HOME]");
    settings.add_filter(r"sha256:[0-9a-f]{64}", "sha256:[DIGEST]");
    settings.add_filter(r"\b[0-9a-f]{64}\b", "[ID]");
    settings.add_filter(r"\b[0-9a-f]{12}\b", "[ID]");
    settings.add_filter(r"\b(About )?(an?|\d+) (second|minute|hour)s?\b", "[TIME]");
    settings.add_filter(r"Less than a second", "[TIME]");
    settings
}

fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_alphanumeric() { vec![c] } else { vec!['\\', c] }).collect()
}
