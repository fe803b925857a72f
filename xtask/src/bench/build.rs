//! `cargo xtask bench build`: how long it takes to build again, with nothing changed and with one source
//! file changed.
//!
//! The image is a Debian system with a command in it and a project of a thousand files on top, of which
//! the first step of all and the last depend. docker's builder is the one in its daemon.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result};

use super::{
    Contender, data,
    disk::Disk,
    done, left_out, measure,
    peers::Docker,
    silo::{self, Silo},
    workplace,
};

/// How many rounds are run unless the command line says otherwise.
pub(crate) const ROUNDS: usize = 10;

const FILES: usize = 1000;
const DOCKERFILE: &str = "FROM base\nRUN echo made > /made && dd if=/dev/urandom of=/big bs=1M count=16 2>/dev/null\n\
                          WORKDIR /app\nCOPY . .\nRUN cat changed > result\nCMD [\"cat\", \"result\"]\n";

pub(crate) fn run(rounds: usize) -> Result<()> {
    let program = silo::built()?;
    let archive = data()?.join("debian/docker-archive.tar");
    let work = workplace(&program)?;
    let disk = Disk::new(work.path())?;
    let project = disk.path.join("project");
    make(&project)?;
    let silo = Silo { program, root: disk.path.join("silo") };
    let said = done(silo.command(&["load", "--quiet", "--input"]).arg(&archive))?;
    let name = said.rsplit(' ').next().unwrap_or_default();
    done(&mut silo.command(&["tag", name, "base"]))?;
    let docker = left_out(Docker::start(&disk.path));
    if let Some(docker) = &docker {
        docker.client().load_as(&archive, "base")?;
    }
    for (title, changes) in [("nothing changed", false), ("one source file changed", true)] {
        let mut contenders = vec![ours(&silo, &project, changes)];
        if let Some(docker) = &docker {
            contenders.push(docker.client().build(&project, change(&project, changes)));
        }
        report(title, contenders, rounds)?;
    }
    Ok(())
}

/// A thousand files in directories of a hundred, a few megabytes in all.
fn make(project: &Path) -> Result<()> {
    for number in 0..FILES {
        let directory = project.join(format!("d{}", number / 100));
        fs::create_dir_all(&directory)?;
        let text = format!("line of file {number}\n").repeat(200);
        fs::write(directory.join(format!("f{number}")), text)?;
    }
    fs::write(project.join("Dockerfile"), DOCKERFILE)?;
    fs::write(project.join("changed"), "0").context("cannot write the project")
}

/// What is done before each build.
fn change(project: &Path, changes: bool) -> impl Fn() -> Result<()> + use<> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let file: PathBuf = project.join("changed");
    move || {
        if changes {
            fs::write(&file, NEXT.fetch_add(1, Ordering::Relaxed).to_string())?;
        }
        Ok(())
    }
}

fn ours(silo: &Silo, project: &Path, changes: bool) -> Contender {
    let (silo, context) = (silo.clone(), project.to_owned());
    let build = move || {
        let mut build = silo.command(&["build", "--quiet", "--tag", "app"]);
        build.arg(&context);
        build
    };
    Contender::new("silo build", build).between(change(project, changes), || Ok(()))
}

fn report(title: &str, contenders: Vec<Contender>, rounds: usize) -> Result<()> {
    let measured = measure(contenders, rounds)?;
    println!("{title}, {rounds} rounds\n");
    println!("| command | median ms | least ms | the first's median is | peak MiB |");
    println!("|---|---|---|---|---|");
    let first = measured[0].milliseconds();
    for one in measured {
        let (median, least) = (one.milliseconds(), one.least());
        // What a daemon used is not the client's.
        let peak = if one.served {
            "-".to_owned()
        } else {
            format!("{}", one.median(|sample| sample.peak) >> 20)
        };
        println!("| {} | {median:.2} | {least:.2} | {:.3}x | {peak} |", one.name, first / median);
    }
    println!();
    Ok(())
}
