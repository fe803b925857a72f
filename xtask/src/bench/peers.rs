//! Other container programs, set up to run `true` from the same root file system.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{Contender, command, done};

/// `bwrap --unshare-all`, with /proc and /dev, as every container has them.
pub(super) fn bubblewrap(rootfs: &Path) -> Contender {
    let rootfs = rootfs.to_owned();
    Contender::new("bwrap --unshare-all", move || {
        let mut bwrap = command("bwrap", &["--unshare-all", "--bind"]);
        bwrap.arg(&rootfs).args(["/", "--proc", "/proc", "--dev", "/dev", "true"]);
        bwrap
    })
}

/// `runc run` or `crun run` of a bundle with the configuration that `runc spec` writes.
pub(super) fn oci_runtime(
    name: &'static str,
    program: &'static str,
    rootfs: &Path,
    work: &Path,
) -> Result<Contender> {
    let (bundle, state) = (work.join(format!("{program}-bundle")), work.join(program));
    fs::create_dir_all(&bundle)?;
    done(Command::new(program).arg("spec").current_dir(&bundle))?;
    let file = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["true"]);
    // Limits cannot be raised on every machine, and silo sets none.
    config["process"]["rlimits"] = json!([]);
    config["root"]["path"] = json!(rootfs);
    fs::write(&file, serde_json::to_vec(&config)?)?;
    let count = Cell::new(0);
    Ok(Contender::new(name, move || {
        count.set(count.get() + 1);
        let mut runtime = command(program, &["--root"]);
        runtime.arg(&state).args(["run", "--bundle"]).arg(&bundle);
        runtime.arg(format!("silo-bench-{}-{}", std::process::id(), count.get()));
        runtime
    }))
}

/// podman on a store of its own.
pub(super) struct Podman {
    root: PathBuf,
    run: PathBuf,
}

impl Podman {
    pub(super) fn start(archive: &Path, work: &Path) -> Result<Self> {
        let podman = Self { root: work.join("podman"), run: work.join("podman-run") };
        done(podman.command().args(["import", "--quiet"]).arg(archive).arg("busybox"))?;
        Ok(podman)
    }

    fn command(&self) -> Command {
        let mut podman = command("podman", &["--root"]);
        podman.arg(&self.root).arg("--runroot").arg(&self.run);
        podman
    }

    pub(super) fn contender(&self) -> Contender {
        let this = Self { root: self.root.clone(), run: self.run.clone() };
        Contender::new("podman run --rm --network none", move || {
            let mut podman = this.command();
            // Debian's default, crun, refuses hybrid cgroup trees.
            podman.args(["--runtime", "runc", "run", "--rm", "--network", "none"]);
            podman.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]);
            podman.args(["busybox", "true"]);
            podman
        })
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // podman mounts its storage onto itself and leaves it so.
        unmount(&self.root.join("overlay"));
    }
}

/// Unmounts what a peer may have left; that nothing is mounted there is no fault.
fn unmount(path: &Path) {
    let _ = command("umount", &[]).arg(path).stderr(Stdio::null()).status();
}

/// A dockerd on a socket and a data directory of its own. Dropping it ends it.
pub(super) struct Docker {
    daemon: Child,
    socket: PathBuf,
}

impl Docker {
    pub(super) fn start(archive: &Path, work: &Path) -> Result<Self> {
        let directory = work.join("docker");
        fs::create_dir_all(&directory)?;
        let log = fs::File::create(directory.join("log"))?;
        let socket = directory.join("socket");
        let daemon = Command::new("dockerd")
            .arg("--data-root")
            .arg(directory.join("data"))
            .arg("--exec-root")
            .arg(directory.join("run"))
            .arg("--pidfile")
            .arg(directory.join("pid"))
            .arg("-H")
            .arg(format!("unix://{}", socket.display()))
            .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start dockerd")?;
        let docker = Self { daemon, socket };
        docker.wait()?;
        done(docker.client().arg("import").arg(archive).arg("busybox"))?;
        Ok(docker)
    }

    fn wait(&self) -> Result<()> {
        for _ in 0..300 {
            if done(self.client().arg("version")).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        bail!("dockerd does not answer within 30 s")
    }

    fn client(&self) -> Command {
        let mut docker = command("docker", &["-H"]);
        docker.arg(format!("unix://{}", self.socket.display()));
        docker
    }

    pub(super) fn contender(&self) -> Contender {
        let host = format!("unix://{}", self.socket.display());
        Contender::new("docker run --rm --network none", move || {
            let mut docker = command("docker", &["-H", &host]);
            docker.args(["run", "--rm", "--network", "none", "busybox", "true"]);
            docker
        })
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // It ends its containerd, too, but leaves the network namespace of `--network none`.
        let _ = command("kill", &["-TERM", &self.daemon.id().to_string()]).status();
        let _ = self.daemon.wait();
        unmount(&self.socket.with_file_name("run").join("netns/default"));
    }
}
