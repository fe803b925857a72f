//! What a container changed in its image, and images and archives made of that.

use std::io::Write;

use serde_json::{Value, json};
use silo_isolation::MountKind;
use silo_layers::{Change, CommitOptions, Digest, Image, Omitted};

use super::Engine;
use crate::{
    CommitRequest, Container, Error, Result, RunConfig, Summary,
    client::Connection,
    protocol::{Reply, Request},
    state::{Lock, Probe},
};

/// Where every Linux container has file systems and files of its own (OCI runtime-spec, config-linux,
/// "Default Filesystems"; Docker's three in /etc): what is made in the upper to mount them on is no
/// change of the guest's.
const MOUNTED: [&str; 6] =
    ["/dev", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/proc", "/sys"];

impl Engine {
    /// What a container changed in its image, sorted by path.
    pub fn changes(&self, query: &str) -> Result<Vec<Change>> {
        let container = self.inspect(query)?.container;
        Ok(container.bundle.root.snapshot.changes(&omitted(&container))?)
    }

    /// Writes all files of a container as one tar archive. What is mounted in it is left out.
    pub fn export(&self, query: &str, output: &mut dyn Write) -> Result<()> {
        let container = self.inspect(query)?.container;
        Ok(container.bundle.root.snapshot.export(output)?)
    }

    /// Makes an image of what a container changed, and returns the digest of its manifest.
    ///
    /// One that runs stands still meanwhile, unless that is not wanted; one that does not is kept
    /// from being started.
    pub fn commit(&self, query: &str, request: &CommitRequest) -> Result<Digest> {
        let summary = self.inspect(query)?;
        let _standstill = self.stand_still(&summary, request.pause)?;
        let container = &summary.container;
        let image = self.store.image(&container.image.manifest)?;
        let mut options = CommitOptions {
            name: request.name.clone(),
            author: request.author.clone(),
            message: request.message.clone(),
            created_by: container.bundle.process.args.join(" "),
            config: Some(match &request.config {
                Some(config) => config.clone(),
                None => self.run_config(&image, container)?,
            }),
            omitted: omitted(container).excluding(request.exclude.iter().map(String::as_str)),
            ..CommitOptions::default()
        };
        if request.include_volumes {
            options.volumes = volumes(container)?;
        }
        Ok(self.store.commit(&image, &container.bundle.root.snapshot, &options)?)
    }

    /// What an image made of a container runs: the image's config, with what the container was
    /// asked for in place of it.
    pub fn commit_config(&self, query: &str) -> Result<Value> {
        let container = self.inspect(query)?.container;
        let image = self.store.image(&container.image.manifest)?;
        self.run_config(&image, &container)
    }

    fn run_config(&self, image: &Image, container: &Container) -> Result<Value> {
        let mut config = self.store.config_document(image)?["config"].take();
        if !config.is_object() {
            config = json!({});
        }
        let RunConfig { entrypoint, cmd, env, user, working_dir } = &container.run;
        let list = |list: &Vec<String>| if list.is_empty() { Value::Null } else { json!(list) };
        let text = |text: &String| if text.is_empty() { Value::Null } else { json!(text) };
        for (name, value) in [
            ("Entrypoint", list(entrypoint)),
            ("Cmd", list(cmd)),
            ("Env", list(env)),
            ("User", text(user)),
            ("WorkingDir", text(working_dir)),
        ] {
            match (&mut config, value) {
                (Value::Object(members), Value::Null) => drop(members.remove(name)),
                (config, value) => config[name] = value,
            }
        }
        Ok(config)
    }

    /// Keeps a container's files from being changed while the result lives.
    pub(super) fn stand_still(&self, summary: &Summary, pause: bool) -> Result<Option<Standstill>> {
        let id = &summary.container.id;
        if !summary.state.status.is_live() {
            return match Lock::try_take(&self.containers.lock_path(id))? {
                Probe::Taken(lock) => Ok(Some(Standstill::Locked(lock))),
                Probe::Held => Err(Error::Busy(summary.container.name.clone())),
                Probe::Absent => Err(Error::NotFound(summary.container.name.clone())),
            };
        }
        if !pause {
            return Ok(None);
        }
        // It has just ended if there is nobody to ask.
        let Some(mut connection) = self.connect(id)? else { return Ok(None) };
        match connection.ask(&Request::Hold)? {
            Some(Reply::Failed(failure)) => Err(failure.into()),
            _ => Ok(Some(Standstill::Held(connection))),
        }
    }
}

/// What keeps a container as it is.
pub(super) enum Standstill {
    /// Nobody else can start or remove it.
    Locked(#[expect(dead_code, reason = "it is held")] Lock),
    /// It is paused as long as the connection is open, so that who holds it and dies lets it go on.
    Held(#[expect(dead_code, reason = "it is held")] Connection),
}

/// What was made for mounts.
pub(super) fn omitted(container: &Container) -> Omitted {
    let mounts = container.bundle.mounts.iter().map(|mount| mount.destination.as_str());
    Omitted::mount_points(mounts.chain(MOUNTED))
}

fn volumes(container: &Container) -> Result<Vec<(String, std::path::PathBuf)>> {
    if !cfg!(target_os = "linux") {
        let why = "files of this system have no form in an image";
        return Err(Error::invalid("--include-volumes", "true", why));
    }
    let volumes = container.bundle.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind { source } => Some((mount.destination.clone(), source.clone())),
        MountKind::Tmpfs { .. } => None,
    });
    Ok(volumes.collect())
}
