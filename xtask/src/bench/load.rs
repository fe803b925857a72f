//! `cargo xtask bench load`: how long it takes until an image can run that lies there as a file.
//!
//! silo has everything on the disk when it returns. The others leave that to the kernel: how long
//! it then takes stands in a column of its own.

use std::path::Path;

use anyhow::Result;

use super::{
    Contender, Measured, data,
    disk::Disk,
    image, left_out, measure, milliseconds,
    peers::{Containerd, Docker, Podman, umoci},
    remove,
    silo::{self, Silo},
    workplace,
};

/// How many rounds are run unless the command line says otherwise.
pub(crate) const ROUNDS: usize = 5;

pub(crate) fn run(rounds: usize) -> Result<()> {
    let program = silo::built()?;
    let images = image::made(&data()?)?;
    let work = workplace(&program)?;
    let disk = Disk::new(work.path())?;
    let bench = Bench {
        silo: Silo { program, root: disk.path.join("silo") },
        podman: Podman::new(&disk.path),
        docker: left_out(Docker::start(&disk.path)),
        containerd: left_out(Containerd::start(&disk.path)),
        disk,
    };
    println!("{}\n", images.described);
    for (title, input) in images.inputs() {
        bench.compare(title, &input, rounds)?;
    }
    Ok(())
}

/// Dropped from top to bottom: the disk last.
struct Bench {
    silo: Silo,
    podman: Podman,
    docker: Option<Docker>,
    containerd: Option<Containerd>,
    disk: Disk,
}

impl Bench {
    fn compare(&self, title: &str, input: &Path, rounds: usize) -> Result<()> {
        let root = self.silo.root.clone();
        let mut contenders = vec![self.fresh(self.silo.load(input), move || remove(&root))];
        let podman = self.podman.clone();
        contenders.push(self.fresh(self.podman.load(input), move || podman.clear()));
        if input.is_dir() {
            let bundle = self.disk.path.join("umoci");
            let unpack = umoci(input, &bundle);
            contenders.push(self.fresh(unpack, move || remove(&bundle)));
        } else {
            if let Some(docker) = &self.docker {
                let client = docker.client();
                contenders.push(self.fresh(client.load(input), move || client.clear()));
            }
            if let Some(containerd) = &self.containerd {
                let client = containerd.client();
                contenders.push(self.fresh(client.import(input), move || client.clear()));
            }
        }
        print(title, &measure(contenders, rounds)?, rounds);
        Ok(())
    }

    /// Each run begins without the image, and with nothing of an earlier one left to write.
    fn fresh(&self, contender: Contender, clear: impl Fn() -> Result<()> + 'static) -> Contender {
        let (disk, same_disk) = (self.disk.path.clone(), self.disk.path.clone());
        contender.between(
            move || clear().and_then(|()| Disk::sync(&disk)),
            move || Disk::sync(&same_disk),
        )
    }
}

fn print(title: &str, measured: &[Measured], rounds: usize) {
    println!("{title}, {rounds} rounds\n");
    println!(
        "| command | median ms | silo is faster by | then on the disk, ms | cores busy | peak MiB |"
    );
    println!("|---|---|---|---|---|---|");
    let first = measured[0].milliseconds();
    for one in measured {
        let median = one.milliseconds();
        let synced = one.median(|sample| milliseconds(sample.after));
        let own = if one.served {
            "in its daemon | ".to_owned()
        } else {
            let cores = one.median(|sample| sample.busy.as_secs_f64() / sample.took.as_secs_f64());
            format!("{cores:.2} | {}", one.median(|sample| sample.peak) >> 20)
        };
        println!("| {} | {median:.0} | {:.2}x | {synced:.0} | {own} |", one.name, median / first);
    }
    println!();
}
