//! The program that all others are compared with.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{Contender, command};

/// silo on a store of its own.
#[derive(Clone)]
pub(super) struct Silo {
    pub(super) program: PathBuf,
    pub(super) root: PathBuf,
}

impl Silo {
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut silo = command(&self.program, &["--root"]);
        silo.arg(&self.root).args(args);
        silo
    }

    pub(super) fn contender(&self, name: &'static str, args: &'static [&'static str]) -> Contender {
        let silo = self.clone();
        Contender::new(name, move || silo.command(args))
    }

    /// `silo load` of an archive or layout.
    pub(super) fn load(&self, input: &Path) -> Contender {
        let (silo, input) = (self.clone(), input.to_owned());
        Contender::new("silo load", move || {
            let mut load = silo.command(&["load", "--input"]);
            load.arg(&input);
            load
        })
    }
}

/// The program, built as users have it.
pub(super) fn built() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).args(["build", "--release", "--bin", "silo"]).status()?;
    ensure!(built.success(), "silo cannot be built");
    Ok(env::current_exe()?.with_file_name("silo"))
}

/// A copy of `program` in `work`, as an installed one is: what a linker has just written lies in
/// the page cache in pieces, which takes longer to map.
pub(super) fn installed(program: &Path, work: &Path) -> Result<PathBuf> {
    let copy = work.join(program.file_name().context("a program's name")?);
    fs::copy(program, &copy).with_context(|| format!("cannot copy {}", program.display()))?;
    Ok(copy)
}
