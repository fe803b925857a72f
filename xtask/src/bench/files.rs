//! `cargo xtask bench files`: what file operations cost a WebAssembly guest, timed inside it.
//!
//! CPython runs one script on silo's union file system and on wasmtime's own WASI.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{command, data, done, silo, silo::Silo, workplace};

pub(crate) const ROUNDS: usize = 5;

const SCRIPT: &str = include_str!("files.py");

/// An operation's name and the time it took, in nanoseconds.
type Times = Vec<(String, f64)>;

pub(crate) fn run(rounds: usize) -> Result<()> {
    let program = silo::built()?;
    let data = data()?;
    let work = workplace(&program)?;
    let python = data.join("bin/python.wasm");
    let silo = Silo { program, root: work.path().join("silo") };
    let tree = tree(work.path())?;
    let mut contenders = [
        on_silo(&silo, &python, &tree, work.path())?,
        on_wasmtime(&data.join("bin/wasmtime"), &python, &tree, work.path())?,
    ];
    let mut all = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for (command, times) in contenders.iter_mut().zip(&mut all) {
            let output = done(command)?;
            // The first run warms caches.
            if round > 0 {
                times.push(parse(&output)?);
            }
        }
    }
    print(&all, rounds)
}

/// The files that the script looks at: `data` with 100 files and a deep directory, `work` for its own.
fn tree(work: &Path) -> Result<PathBuf> {
    let tree = work.join("tree");
    let deep = tree.join("data/a/b/c/d/e");
    fs::create_dir_all(&deep)?;
    fs::create_dir(tree.join("work"))?;
    fs::write(deep.join("file"), "deep")?;
    for index in 0..99 {
        fs::write(tree.join(format!("data/file{index}")), [b'x'; 1000])?;
    }
    fs::write(tree.join("script.py"), SCRIPT)?;
    Ok(tree)
}

fn on_silo(silo: &Silo, python: &Path, tree: &Path, work: &Path) -> Result<Command> {
    let archive = work.join("python.tar");
    let mut tar = tar::Builder::new(fs::File::create(&archive)?);
    tar.append_dir_all(".", tree)?;
    tar.append_path_with_name(python, "python.wasm")?;
    tar.into_inner()?;
    let entry_point = "ENTRYPOINT [\"/python.wasm\", \"/script.py\"]";
    let mut import = silo.command(&["import", "--platform", "wasi/wasm", "-c", entry_point]);
    done(import.arg(&archive).arg("python"))?;
    Ok(silo.command(&["run", "--rm", "python"]))
}

fn on_wasmtime(wasmtime: &Path, python: &Path, tree: &Path, work: &Path) -> Result<Command> {
    let compiled = work.join("python.cwasm");
    done(command(wasmtime, &["compile"]).arg(python).arg("-o").arg(&compiled))?;
    let mut run = command(wasmtime, &["run", "--allow-precompiled", "--dir"]);
    run.arg(format!("{}::/", tree.display())).arg(compiled).arg("/script.py");
    Ok(run)
}

fn parse(output: &str) -> Result<Times> {
    let parse = |line: &str| {
        let (name, time) = line.split_once('\t')?;
        Some((name.to_owned(), time.parse().ok()?))
    };
    output.lines().map(|line| parse(line).with_context(|| format!("what is `{line}`?"))).collect()
}

fn print(all: &[Vec<Times>; 2], rounds: usize) -> Result<()> {
    println!("files of a wasm guest, {rounds} rounds\n");
    println!("| operation | silo us | wasmtime us | wasmtime's median is |");
    println!("|---|---|---|---|");
    for (index, (name, _)) in all[0][0].iter().enumerate() {
        let median = |runs: &[Times]| -> Result<f64> {
            let time =
                |run: &Times| run.get(index).filter(|(other, _)| other == name).map(|of| of.1);
            let mut times: Vec<f64> = runs.iter().filter_map(time).collect();
            ensure!(times.len() == runs.len(), "`{name}` was not measured in every run");
            times.sort_by(f64::total_cmp);
            Ok(times[times.len() / 2] / 1e3)
        };
        let (ours, theirs) = (median(&all[0])?, median(&all[1])?);
        println!("| {name} | {ours:.2} | {theirs:.2} | {:.1}x |", theirs / ours);
    }
    println!();
    Ok(())
}
