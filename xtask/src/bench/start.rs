//! `cargo xtask bench start`: how long a container takes that does nothing, and what an idle
//! one costs.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    Contender, command, compare, data,
    disk::Disk,
    done, growth, left_out, peers,
    silo::{self, Silo},
    workplace,
};

/// How many rounds are run unless the command line says otherwise.
pub(crate) const ROUNDS: usize = 50;

/// A module that says hello and ends.
pub(super) const HELLO: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\0a")
  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

pub(crate) fn run(rounds: usize) -> Result<()> {
    let program = silo::built()?;
    let data = data()?;
    let place = workplace(&program)?;
    let disk = Disk::new(place.path())?;
    let (work, bin) = (disk.path.as_path(), disk.path.join("bin"));
    fs::create_dir(&bin)?;
    let silo = Silo { program: silo::installed(&program, &bin)?, root: work.join("store") };
    let wasmtime = silo::installed(&data.join("bin/wasmtime"), &bin)?;

    // Daemons last: they are busy for some time after they were told to end.
    wasm(&silo, &wasmtime, work, rounds)?;
    growth::run(&silo, &data.join("busybox/rootfs.tar"), work, rounds)?;
    linux(&silo, &data.join("busybox/rootfs.tar"), work, rounds)?;
    idle(&silo)
}

fn linux(silo: &Silo, archive: &Path, work: &Path, rounds: usize) -> Result<()> {
    done(silo.command(&["import"]).arg(archive).arg("busybox"))?;
    let rootfs = work.join("rootfs");
    tar::Archive::new(fs::File::open(archive)?).unpack(&rootfs)?;

    let args = &["run", "--rm", "--network", "none", "busybox", "true"];
    let mut contenders =
        vec![silo.contender("silo run --rm --network none", args), peers::bubblewrap(&rootfs)];
    let docker = left_out(peers::Docker::start(work).and_then(|docker| {
        docker.import(archive)?;
        Ok(docker)
    }));
    let podman = left_out(peers::Podman::start(archive, work));
    for (name, program) in [("runc run", "runc"), ("crun run", "crun")] {
        let runtime = peers::OciRuntime::new(Path::new(program), &rootfs, work);
        contenders.extend(left_out(runtime.and_then(|runtime| runtime.run(name))));
    }
    contenders.extend(podman.as_ref().map(|podman| podman.contender()));
    contenders.extend(docker.as_ref().map(|docker| docker.client().contender()));
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
