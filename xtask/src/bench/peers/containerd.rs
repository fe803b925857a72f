//! containerd.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::Daemon;
use crate::bench::{Contender, command, done};

/// Without the Kubernetes service, which wants a network.
const CONFIG: &str = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";

/// A containerd on a socket and directories of its own. Dropping it ends it.
pub(crate) struct Containerd {
    _daemon: Daemon,
    client: Client,
}

/// Whoever calls the daemon.
#[derive(Clone)]
pub(crate) struct Client {
    socket: PathBuf,
}

impl Containerd {
    pub(crate) fn start(work: &Path) -> Result<Self> {
        let directory = work.join("containerd");
        fs::create_dir_all(&directory)?;
        let config = directory.join("config.toml");
        fs::write(&config, CONFIG)?;
        let client = Client { socket: directory.join("socket") };
        let mut daemon = command("containerd", &["--config"]);
        daemon.arg(config).arg("--address").arg(&client.socket);
        daemon.arg("--root").arg(directory.join("root"));
        daemon.arg("--state").arg(directory.join("state"));
        let daemon = Daemon::start(daemon, &directory, || client.command(&["version"]))?;
        Ok(Self { _daemon: daemon, client })
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }
}

impl Client {
    fn command(&self, args: &[&str]) -> Command {
        let mut ctr = command("ctr", &["--address"]);
        ctr.arg(&self.socket).args(args);
        ctr
    }

    /// `ctr images import` of an archive, which unpacks it for overlayfs.
    pub(crate) fn import(&self, archive: &Path) -> Contender {
        let (client, archive) = (self.clone(), archive.to_owned());
        let import = move || {
            let mut import = client.command(&["images", "import", "--snapshotter", "overlayfs"]);
            import.arg(&archive);
            import
        };
        Contender::new("ctr images import", import).served()
    }

    /// Removes all images, and waits until what only they used is gone.
    pub(crate) fn clear(&self) -> Result<()> {
        let images = done(&mut self.command(&["images", "list", "--quiet"]))?;
        for image in images.lines() {
            done(&mut self.command(&["images", "remove", "--sync", image]))?;
        }
        Ok(())
    }
}
