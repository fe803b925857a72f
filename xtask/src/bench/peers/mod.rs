//! Other container programs, each on a store of its own.

mod containerd;
mod docker;
mod podman;
mod runtime;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

pub(super) use self::{
    containerd::Containerd, docker::Docker, podman::Podman, runtime::OciRuntime,
};
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

/// `umoci unpack` of the image `latest` of a layout.
pub(super) fn umoci(layout: &Path, bundle: &Path) -> Contender {
    let (image, bundle) = (format!("{}:latest", layout.display()), bundle.to_owned());
    Contender::new("umoci unpack", move || {
        let mut unpack = command("umoci", &["unpack", "--image", &image]);
        unpack.arg(&bundle);
        unpack
    })
}

/// Unmounts what a peer may have left; that nothing is mounted there is no fault.
fn unmount(path: &Path) {
    let _ = command("umount", &[]).arg(path).stderr(Stdio::null()).status();
}

/// A daemon, ended when it is dropped.
struct Daemon(Child);

impl Daemon {
    /// Starts it, with its log in `directory`, and waits until `answers` succeeds.
    fn start(mut daemon: Command, directory: &Path, answers: impl Fn() -> Command) -> Result<Self> {
        let log = fs::File::create(directory.join("log"))?;
        daemon.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = daemon.spawn().with_context(|| format!("cannot start {daemon:?}"))?;
        let daemon = Self(child);
        for _ in 0..300 {
            if done(&mut answers()).is_ok() {
                return Ok(daemon);
            }
            thread::sleep(Duration::from_millis(100));
        }
        let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
        bail!("it does not answer within 30 s: {}", log.lines().last().unwrap_or_default())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = command("kill", &["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}
