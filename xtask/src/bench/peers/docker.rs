//! Docker.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{Daemon, unmount};
use crate::bench::{Contender, command, done};

/// A dockerd on a socket and a data directory of its own. Dropping it ends it.
pub(crate) struct Docker {
    /// It ends its containerd, too.
    _daemon: Daemon,
    client: Client,
    _namespace: Namespace,
}

/// Whoever calls the daemon.
#[derive(Clone)]
pub(crate) struct Client {
    host: String,
}

/// The network namespace of `--network none`, which dockerd leaves mounted.
struct Namespace(PathBuf);

impl Docker {
    pub(crate) fn start(work: &Path) -> Result<Self> {
        let directory = work.join("docker");
        fs::create_dir_all(&directory)?;
        let client = Client { host: format!("unix://{}", directory.join("socket").display()) };
        let mut daemon = command("dockerd", &["--storage-driver", "overlay2", "-H", &client.host]);
        daemon.arg("--data-root").arg(directory.join("data"));
        daemon.arg("--exec-root").arg(directory.join("run"));
        daemon.arg("--pidfile").arg(directory.join("pid"));
        daemon.args(["--bridge", "none", "--iptables=false", "--ip6tables=false"]);
        let namespace = Namespace(directory.join("run/netns/default"));
        let daemon = Daemon::start(daemon, &directory, || client.command(&["version"]))?;
        Ok(Self { _daemon: daemon, client, _namespace: namespace })
    }

    /// Makes the image `busybox` of this root file system.
    pub(crate) fn import(&self, archive: &Path) -> Result<()> {
        done(self.client.command(&["import"]).arg(archive).arg("busybox")).map(drop)
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }
}

impl Client {
    fn command(&self, args: &[&str]) -> Command {
        let mut docker = command("docker", &["-H", &self.host]);
        docker.args(args);
        docker
    }

    pub(crate) fn contender(self) -> Contender {
        let run = || ["run", "--rm", "--network", "none", "busybox", "true"];
        Contender::new("docker run --rm --network none", move || self.command(&run())).served()
    }

    /// `docker load` of an archive.
    pub(crate) fn load(&self, archive: &Path) -> Contender {
        let (client, archive) = (self.clone(), archive.to_owned());
        let load = move || {
            let mut load = client.command(&["load", "--quiet", "--input"]);
            load.arg(&archive);
            load
        };
        Contender::new("docker load", load).served()
    }

    /// `docker commit` of a container of the archive's image, in which the file is changed.
    pub(crate) fn commit(&self, archive: &Path, file: &Path) -> Result<Contender> {
        let said = done(self.command(&["load", "--quiet", "--input"]).arg(archive))?;
        let name = said.rsplit(' ').next().unwrap_or_default();
        done(&mut self.command(&["create", "--name", "changed", name, "true"]))?;
        done(self.command(&["cp"]).arg(file).arg("changed:/etc/changed"))?;
        let client = self.clone();
        let commit = move || client.command(&["commit", "changed"]);
        Ok(Contender::new("docker commit, the large image", commit).served())
    }

    /// Loads an archive of one image, and gives that another name.
    pub(crate) fn load_as(&self, archive: &Path, name: &str) -> Result<()> {
        let said = done(self.command(&["load", "--quiet", "--input"]).arg(archive))?;
        let loaded = said.rsplit(' ').next().unwrap_or_default();
        done(&mut self.command(&["tag", loaded, name])).map(drop)
    }

    /// `docker build` of a directory, by the builder that is in the daemon.
    pub(crate) fn build(
        &self,
        context: &Path,
        before: impl Fn() -> Result<()> + 'static,
    ) -> Contender {
        let (client, context) = (self.clone(), context.to_owned());
        let build = move || {
            let mut build =
                client.command(&["build", "--quiet", "--network", "none", "--tag", "app"]);
            build.env("DOCKER_BUILDKIT", "0").arg(&context);
            build
        };
        Contender::new("docker build", build).between(before, || Ok(())).served()
    }

    /// Removes all images.
    pub(crate) fn clear(&self) -> Result<()> {
        done(&mut self.command(&["image", "prune", "--all", "--force"])).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}
