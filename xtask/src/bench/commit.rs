//! `cargo xtask bench commit`: how long it takes to make an image of one changed file.
//!
//! The same change is committed on a small image and on a large one, as the cost should be that of
//! the change.

use std::{fs, path::Path};

use anyhow::Result;

use super::{
    Contender, compare, data,
    disk::Disk,
    done, image, left_out,
    peers::Docker,
    silo::{self, Silo},
    workplace,
};

/// How many rounds are run unless the command line says otherwise.
pub(crate) const ROUNDS: usize = 20;

/// Bytes of the file.
const CHANGED: usize = 1024;

pub(crate) fn run(rounds: usize) -> Result<()> {
    let program = silo::built()?;
    let data = data()?;
    let images = image::made(&data)?;
    let work = workplace(&program)?;
    let disk = Disk::new(work.path())?;
    let file = work.path().join("changed");
    fs::write(&file, [b'x'; CHANGED])?;
    let silo = Silo { program, root: disk.path.join("silo") };
    let (small, large) = (data.join("busybox/docker-archive.tar"), images.archive());
    let mut contenders = vec![
        changed(&silo, "silo commit, the large image", "large", &large, &file)?,
        changed(&silo, "silo commit, a small image", "small", &small, &file)?,
    ];
    let docker = left_out(Docker::start(&disk.path));
    if let Some(docker) = &docker {
        contenders.extend(left_out(docker.client().commit(&large, &file)));
    }
    println!("{}\n", images.described);
    compare("one changed file of 1 kB", contenders, rounds)
}

/// The commit of a container of `image` with the changed file.
fn changed(
    silo: &Silo,
    title: &'static str,
    container: &'static str,
    image: &Path,
    file: &Path,
) -> Result<Contender> {
    let said = done(silo.command(&["load", "--quiet", "--input"]).arg(image))?;
    let name = said.rsplit(' ').next().unwrap_or_default();
    done(&mut silo.command(&["create", "--name", container, name, "true"]))?;
    done(silo.command(&["cp"]).arg(file).arg(format!("{container}:/etc/changed")))?;
    let silo = silo.clone();
    Ok(Contender::new(title, move || silo.command(&["commit", container])))
}
