//! `cargo xtask bench runtime`: how long OCI runtimes take to run a bundle, and a further process in a
//! container that runs.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::Result;

use super::{
    compare, data,
    disk::Disk,
    done, left_out,
    peers::OciRuntime,
    silo::{self, Silo},
    workplace,
};

/// How many rounds are run unless the command line says otherwise.
pub(crate) const ROUNDS: usize = 50;

pub(crate) fn run(rounds: usize) -> Result<()> {
    let program = silo::built()?;
    let archive = data()?.join("busybox/rootfs.tar");
    let place = workplace(&program)?;
    let disk = Disk::new(place.path())?;
    let (work, bin) = (disk.path.as_path(), disk.path.join("bin"));
    fs::create_dir(&bin)?;
    let silo = Silo { program: silo::installed(&program, &bin)?, root: work.join("store") };
    let runtime = bin.join("silo-runtime");
    symlink(&silo.program, &runtime)?;
    let rootfs = work.join("rootfs");
    tar::Archive::new(fs::File::open(&archive)?).unpack(&rootfs)?;

    let own = OciRuntime::new(&runtime, &rootfs, work)?;
    let peer = |name: &str| left_out(OciRuntime::new(Path::new(name), &rootfs, work));
    let (runc, crun) = (peer("runc"), peer("crun"));
    let mut contenders = vec![own.run("silo runtime run")?];
    for (name, peer) in [("runc run", &runc), ("crun run", &crun)] {
        contenders.extend(peer.as_ref().map(|peer| peer.run(name)).transpose()?);
    }
    compare("run of a bundle, busybox true", contenders, rounds)?;

    done(silo.command(&["import"]).arg(&archive).arg("busybox"))?;
    let sleep = ["run", "-d", "--name", "one", "--network", "none", "busybox", "sleep", "1000"];
    done(&mut silo.command(&sleep))?;
    let waiting = own.wait()?;
    let mut contenders = vec![
        silo.contender("silo exec", &["exec", "one", "true"]),
        waiting.exec("silo runtime exec"),
    ];
    let runc = runc.as_ref().map(OciRuntime::wait).transpose()?;
    let crun = crun.and_then(|crun| left_out(crun.wait()));
    contenders.extend(runc.as_ref().map(|runc| runc.exec("runc exec")));
    contenders.extend(crun.as_ref().map(|crun| crun.exec("crun exec")));
    let compared = compare("a further process, busybox true", contenders, rounds);
    done(&mut silo.command(&["rm", "-f", "one"]))?;
    compared
}
