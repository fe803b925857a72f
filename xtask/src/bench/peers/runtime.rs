//! OCI runtimes, each with a bundle and records of its own.

use std::{
    cell::Cell,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::super::{Contender, command, done};

/// A runtime, and a bundle with the configuration that its `spec` writes.
#[derive(Clone)]
pub(in crate::bench) struct OciRuntime {
    program: PathBuf,
    bundle: PathBuf,
    records: PathBuf,
}

impl OciRuntime {
    pub(in crate::bench) fn new(program: &Path, rootfs: &Path, work: &Path) -> Result<Self> {
        let mut name = OsString::from("runtime-");
        name.push(program.file_name().context("a program's name")?);
        let bundle = work.join(&name);
        name.push("-records");
        let records = work.join(name);
        fs::create_dir_all(&bundle)?;
        let file = bundle.join("config.json");
        if !file.exists() {
            done(Command::new(program).arg("spec").current_dir(&bundle))?;
        }
        let runtime = Self { program: program.to_owned(), bundle, records };
        runtime.change(|config| {
            config["process"]["terminal"] = json!(false);
            // Limits cannot be raised on every machine.
            config["process"]["rlimits"] = json!([]);
            config["root"]["path"] = json!(rootfs);
        })?;
        Ok(runtime)
    }

    fn change(&self, change: impl FnOnce(&mut Value)) -> Result<()> {
        let file = self.bundle.join("config.json");
        let mut config = serde_json::from_slice(&fs::read(&file)?)?;
        change(&mut config);
        Ok(fs::write(&file, serde_json::to_vec(&config)?)?)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut runtime = command(&self.program, &["--root"]);
        runtime.arg(&self.records).args(args);
        runtime
    }

    /// `run` of a container that does nothing.
    pub(in crate::bench) fn run(&self, name: &'static str) -> Result<Contender> {
        self.change(|config| config["process"]["args"] = json!(["true"]))?;
        let (runtime, count) = (self.clone(), Cell::new(0));
        Ok(Contender::new(name, move || {
            count.set(count.get() + 1);
            let mut run = runtime.command(&["run", "--bundle"]);
            run.arg(&runtime.bundle);
            run.arg(format!("silo-bench-{}-{}", std::process::id(), count.get()));
            run
        }))
    }

    /// A container that waits, for [`Waiting::exec`].
    pub(in crate::bench) fn wait(&self) -> Result<Waiting> {
        self.change(|config| config["process"]["args"] = json!(["sleep", "1000"]))?;
        let id = format!("silo-bench-{}", std::process::id());
        let mut run = self.command(&["run", "--detach", "--bundle"]);
        run.arg(&self.bundle).arg(&id);
        let nothing = Stdio::null;
        let status = run.stdin(nothing()).stdout(nothing()).stderr(nothing()).status()?;
        ensure!(status.success(), "{run:?}: {status}");
        Ok(Waiting { runtime: self.clone(), id })
    }
}

/// A container that waits until it is dropped.
pub(in crate::bench) struct Waiting {
    runtime: OciRuntime,
    id: String,
}

impl Waiting {
    /// `exec` of a program that does nothing.
    pub(in crate::bench) fn exec(&self, name: &'static str) -> Contender {
        let (runtime, id) = (self.runtime.clone(), self.id.clone());
        Contender::new(name, move || runtime.command(&["exec", &id, "true"]))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.runtime.command(&["delete", "--force", &self.id]).status();
    }
}
