//! Changing the limits of a sandbox that runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use silo_isolation::{Error, Result};

use super::{Cgroup, Directory, enable, inherit, make, processes, write};

/// A file as it was before.
struct Before {
    file: PathBuf,
    content: String,
}

impl Cgroup {
    /// Holds the sandbox to other limits. `note` hears of each directory before it is made. On
    /// failure the files are as they were.
    pub(crate) fn adjust(
        &mut self,
        wanted: &[Directory],
        mut note: impl FnMut(&Path) -> Result<()>,
    ) -> Result<()> {
        if self.directories.is_empty() {
            let what = "the container was started without a cgroup: start it again".to_owned();
            return Err(Error::Unsupported { what });
        }
        let (known, new): (Vec<_>, Vec<_>) = wanted.iter().partition(|one| self.has(one));
        let mut before = Vec::new();
        let mut made = Self::default();
        let change = || {
            for directory in new {
                note(&directory.path)?;
                make(directory)?;
                made.directories.push((directory.path.clone(), directory.unified));
                inherit(directory)?;
                write(directory)?;
            }
            for directory in known {
                enable(directory)?;
                before.extend(contents(directory));
                write(directory)?;
            }
            Ok(())
        };
        if let Err(error) = change() {
            // What was made is empty and goes; the last to change is the first to change back.
            restore(before.into_iter().rev());
            return Err(error);
        }
        // From here on they hold processes, and go with the sandbox.
        let made = std::mem::take(&mut made.directories);
        self.directories.extend(made.iter().cloned());
        made.iter().try_for_each(|(path, _)| self.move_into(path))
    }

    fn has(&self, wanted: &Directory) -> bool {
        self.directories.iter().any(|(path, _)| *path == wanted.path)
    }

    /// Moves all processes of the sandbox, and those that they start meanwhile.
    fn move_into(&self, path: &Path) -> Result<()> {
        let file = path.join("cgroup.procs");
        loop {
            let here = processes(path);
            let mut missing = self.processes();
            missing.retain(|pid| !here.contains(pid));
            if missing.is_empty() {
                return Ok(());
            }
            for pid in missing {
                match fs::write(&file, pid.to_string()) {
                    // It has ended.
                    Err(error)
                        if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                    }
                    result => result.map_err(Error::file("write", &file))?,
                }
            }
        }
    }
}

/// What the files hold that a directory's settings change.
fn contents(directory: &Directory) -> Vec<Before> {
    let before = |file: PathBuf| {
        let content = fs::read_to_string(&file).ok()?.trim().to_owned();
        Some(Before { file, content })
    };
    let files = directory.chosen().into_iter().map(|setting| directory.path.join(setting.file));
    files.filter_map(before).collect()
}

fn restore(before: impl Iterator<Item = Before>) {
    for Before { file, content } in before {
        // The first failure is the one to tell.
        let _ = fs::write(file, content);
    }
}
