//! podman.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::unmount;
use crate::bench::{Contender, command, done};

/// podman on a store of its own. Dropping it unmounts what podman left.
pub(crate) struct Podman(Client);

/// Whoever calls podman.
#[derive(Clone)]
pub(crate) struct Client {
    root: PathBuf,
    run: PathBuf,
}

impl Podman {
    pub(crate) fn new(work: &Path) -> Self {
        // podman takes no path of more than 50 characters for this.
        let run = std::env::temp_dir().join(format!("silo-bench-podman-{}", std::process::id()));
        Self(Client { root: work.join("podman"), run })
    }

    /// With the image `busybox` of this root file system.
    pub(crate) fn start(archive: &Path, work: &Path) -> Result<Self> {
        let podman = Self::new(work);
        done(podman.command(&["import", "--quiet"]).arg(archive).arg("busybox"))?;
        Ok(podman)
    }
}

impl Deref for Podman {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl Client {
    fn command(&self, args: &[&str]) -> Command {
        let mut podman = command("podman", &["--storage-driver", "overlay", "--root"]);
        podman.arg(&self.root).arg("--runroot").arg(&self.run).args(args);
        podman
    }

    pub(crate) fn contender(&self) -> Contender {
        let client = self.clone();
        Contender::new("podman run --rm --network none", move || {
            // Debian's default, crun, refuses hybrid cgroup trees.
            let mut podman = client.command(&["--runtime", "runc", "run", "--rm"]);
            podman.args(["--network", "none"]);
            podman.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]);
            podman.args(["busybox", "true"]);
            podman
        })
    }

    /// `podman load` of an archive or layout.
    pub(crate) fn load(&self, input: &Path) -> Contender {
        let (client, input) = (self.clone(), input.to_owned());
        Contender::new("podman load", move || {
            let mut load = client.command(&["load", "--input"]);
            load.arg(&input);
            load
        })
    }

    /// Removes all images.
    pub(crate) fn clear(&self) -> Result<()> {
        done(&mut self.command(&["rmi", "--all", "--force"])).map(drop)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // podman mounts its storage onto itself and leaves it so.
        unmount(&self.root.join("overlay"));
        // Nothing of it matters, and what stays is seen by whoever looks.
        let _ = std::fs::remove_dir_all(&self.run);
    }
}
