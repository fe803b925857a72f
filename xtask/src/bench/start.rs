//! `cargo xtask bench start`: how long a container takes that does nothing, and what an idle
//! one costs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Contender, command, compare, done, peers};

/// A module that says hello and ends.
const HELLO: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\0a")
  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

/// silo on a store of its own.
#[derive(Clone)]
struct Silo {
    program: PathBuf,
    root: PathBuf,
}

impl Silo {
    fn command(&self, args: &[&str]) -> Command {
        let mut silo = command(&self.program, &["--root"]);
        silo.arg(&self.root).args(args);
        silo
    }

    fn contender(&self, name: &'static str, args: &'static [&'static str]) -> Contender {
        let silo = self.clone();
        Contender::new(name, move || silo.command(args))
    }
}

pub(crate) fn run(rounds: usize) -> Result<()> {
    let program = built()?;
    let data = data()?;
    let target = program.parent().context("the program lies in a directory")?;
    // On a disk, where stores are; not in /tmp, which may be memory.
    let work = tempfile::Builder::new().prefix("bench-").tempdir_in(target)?;
    let silo = Silo { program, root: work.path().join("silo") };

    linux(&silo, &data.join("busybox/rootfs.tar"), work.path(), rounds)?;
    wasm(&silo, &data.join("bin/wasmtime"), work.path(), rounds)?;
    idle(&silo)
}

/// The program, built as users have it.
fn built() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).args(["build", "--release", "--bin", "silo"]).status()?;
    ensure!(built.success(), "silo cannot be built");
    Ok(env::current_exe()?.with_file_name("silo"))
}

/// Where `.ci/setup` puts what the tests need, which is what this needs.
fn data() -> Result<PathBuf> {
    let data = env::var_os("SILO_TEST_DATA").map(PathBuf::from).or_else(|| {
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
        Some(cache.join("silo-test"))
    });
    data.filter(|data| data.join("busybox").exists())
        .context("there is no test data; .ci/setup, as root, makes it")
}

fn linux(silo: &Silo, archive: &Path, work: &Path, rounds: usize) -> Result<()> {
    done(silo.command(&["import"]).arg(archive).arg("busybox"))?;
    let rootfs = work.join("rootfs");
    tar::Archive::new(fs::File::open(archive)?).unpack(&rootfs)?;

    let args = &["run", "--rm", "--network", "none", "busybox", "true"];
    let mut contenders =
        vec![silo.contender("silo run --rm --network none", args), peers::bubblewrap(&rootfs)];
    let docker = left_out(peers::Docker::start(archive, work));
    let podman = left_out(peers::Podman::start(archive, work));
    contenders.extend(left_out(peers::oci_runtime("runc run", "runc", &rootfs, work)));
    contenders.extend(left_out(peers::oci_runtime("crun run", "crun", &rootfs, work)));
    contenders.extend(podman.as_ref().map(peers::Podman::contender));
    contenders.extend(docker.as_ref().map(peers::Docker::contender));
    compare("busybox true", contenders, rounds)
}

fn wasm(silo: &Silo, wasmtime: &Path, work: &Path, rounds: usize) -> Result<()> {
    let module = work.join("hello.wasm");
    fs::write(&module, wat::parse_str(HELLO)?)?;
    let archive = work.join("hello.tar");
    let mut tar = tar::Builder::new(fs::File::create(&archive)?);
    tar.append_path_with_name(&module, "hello.wasm")?;
    tar.into_inner()?;
    let image = ["import", "--platform", "wasi/wasm", "-c", "ENTRYPOINT [\"/hello.wasm\"]"];
    done(silo.command(&image).arg(&archive).arg("hello-wasm"))?;
    let compiled = work.join("hello.cwasm");
    done(Command::new(wasmtime).arg("compile").arg(&module).arg("-o").arg(&compiled))?;

    let wasmtime = wasmtime.to_owned();
    let contenders = vec![
        silo.contender("silo run --rm", &["run", "--rm", "hello-wasm"]),
        Contender::new("wasmtime run --allow-precompiled", move || {
            let mut command = command(&wasmtime, &["run", "--allow-precompiled"]);
            command.arg(&compiled);
            command
        }),
    ];
    compare("compiled wasm hello", contenders, rounds)
}

/// The memory that a supervisor has for itself while its container does nothing.
fn idle(silo: &Silo) -> Result<()> {
    let sleep = ["run", "-d", "--network", "none", "busybox", "sleep", "1000"];
    let id = done(&mut silo.command(&sleep))?;
    let read = || -> Result<()> {
        let state = fs::read(silo.root.join("containers").join(&id).join("state.json"))?;
        let state: Value = serde_json::from_slice(&state)?;
        let supervisor = state["supervisor"].as_u64().context("a supervisor's process")?;
        let memory = fs::read_to_string(format!("/proc/{supervisor}/smaps_rollup"))?;
        println!("supervisor of an idle container (proc_pid_smaps(5))\n");
        println!("| kind | KiB |\n|---|---|");
        for kind in ["Private_Dirty", "Private_Clean", "Rss"] {
            let line = memory.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':'));
            let size = line.context("a field of smaps_rollup")?.trim().trim_end_matches(" kB");
            println!("| {kind} | {size} |");
        }
        Ok(())
    };
    let shown = read();
    done(&mut silo.command(&["rm", "-f", &id]))?;
    shown
}

/// A peer that is there, or `None` after saying why it is not.
fn left_out<T>(peer: Result<T>) -> Option<T> {
    peer.map_err(|why| println!("left out: {why:#}\n")).ok()
}
