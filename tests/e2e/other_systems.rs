//! The program as it is built for other systems, where it can be run here. `.ci/run` builds it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use crate::support::{
    Layout, Silo,
    guests::python,
    host::{leave_out, text},
    layout::File,
};

const SCRIPT: &str = "import os
os.makedirs('/work/Deep')
for name in ('a.txt', 'A.txt', 'con'):
    with open('/work/' + name, 'w') as f: f.write(name)
os.rename('/work/a.txt', '/work/b.txt')
os.remove('/work/con')
print(sorted(os.listdir('/work')), open('/work/A.txt').read(), os.path.exists('/app/main.py'))
";

/// What `.ci/run` built and names by a variable.
fn built(variable: &str) -> Option<PathBuf> {
    let path = env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        leave_out(&format!("{variable} names no program; .ci/run builds it"));
    }
    path
}

/// `silo.exe` under wine, with a store of its own.
struct Windows {
    cross: PathBuf,
    program: PathBuf,
    home: tempfile::TempDir,
}

impl Windows {
    fn new() -> Option<Self> {
        let (cross, program) = (built("SILO_TEST_CROSS")?, built("SILO_TEST_WINDOWS")?);
        let home = tempfile::Builder::new().prefix("silo-e2e-").tempdir().expect("a directory");
        Some(Self { cross, program, home })
    }

    fn path(path: &Path) -> String {
        format!("Z:{}", text(path).replace('/', "\\"))
    }

    /// Runs a command to its end; returns its exit code and what it printed.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let root = Self::path(&self.home.path().join("root"));
        let mut command = Command::new(&self.cross);
        command.arg("run-windows").arg(&self.program).args(["--root", &root]).args(args);
        let ended = command.output().expect("wine starts");
        let plain = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\r', "");
        (ended.status.code().unwrap_or(-1), plain(&ended.stdout), plain(&ended.stderr))
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(args);
        assert_eq!(code, 0, "silo.exe {args:?}: {stdout}\n{stderr}");
        stdout.trim().to_owned()
    }
}

#[test]
fn the_windows_program_runs_hello_and_refuses_its_linux_half() {
    let Some(silo) = Windows::new() else { return };
    let said = silo.ok(&["run", "--rm", "hello"]);
    assert!(said.contains("I am the wasi/wasm half"), "{said}");
    let (code, _, stderr) = silo.run(&["run", "--rm", "--platform", "linux/amd64", "hello"]);
    assert_eq!(code, 125, "{stderr}");
    assert!(stderr.contains("linux/amd64"), "{stderr}");
}

#[test]
fn the_windows_program_loads_images_and_keeps_containers() {
    let Some(silo) = Windows::new() else { return };
    let mut layout = Layout::new();
    let Some((program, mut config)) = python(&layout) else { return };
    config["Cmd"] = json!(["/app/main.py"]);
    let layers = [program, layout.layer(&[File::new("app/main.py", SCRIPT.as_bytes())])];
    let image = layout.image("wasi/wasm", &layers, &config);
    layout.name("python", image);
    silo.ok(&["load", "-i", &Windows::path(layout.path())]);
    assert!(silo.ok(&["images"]).contains("python"));

    assert_eq!(
        silo.ok(&["run", "--name", "one", "python"]),
        "['A.txt', 'Deep', 'b.txt'] A.txt True"
    );
    assert_eq!(silo.ok(&["inspect", "-f", "{{.State.ExitCode}}", "one"]), "0");
    assert_eq!(silo.ok(&["logs", "one"]), "['A.txt', 'Deep', 'b.txt'] A.txt True");
    assert!(silo.ok(&["ps", "-a"]).contains("one"));
    silo.ok(&["rm", "one"]);
    assert_eq!(silo.ok(&["ps", "-aq"]), "");
    silo.ok(&["system", "check"]);
}

#[test]
fn the_static_program_runs_both_halves_of_hello() {
    let Some(program) = built("SILO_TEST_MUSL") else { return };
    let headers = Command::new("readelf").arg("-lW").arg(&program).output().expect("readelf");
    let headers = String::from_utf8_lossy(&headers.stdout);
    assert!(headers.contains("LOAD") && !headers.contains("INTERP"), "{headers}");
    let silo = Silo::with_program(&program);
    assert!(silo.ok(&["run", "--rm", "hello"]).contains("I am the linux/amd64 half"));
    let said = silo.ok(&["run", "--rm", "--platform", "wasi/wasm", "hello"]);
    assert!(said.contains("I am the wasi/wasm half"), "{said}");
}
