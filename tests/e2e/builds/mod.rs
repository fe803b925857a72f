//! `silo build`: Dockerfiles, with docker as the other side.

mod cache;
mod errors;
mod files;
mod instructions;
mod peers;
mod wasm;

use std::{fs, path::PathBuf};

use crate::support::{Ended, Silo, host::text};

/// A directory to build of.
pub(crate) struct Project {
    directory: PathBuf,
}

impl Project {
    /// One of a store's test, with this Dockerfile.
    pub(crate) fn new(silo: &Silo, name: &str, dockerfile: &str) -> Self {
        let directory = silo.home().join(name);
        fs::create_dir_all(&directory).unwrap();
        let project = Self { directory };
        project.file("Dockerfile", dockerfile);
        project
    }

    /// Writes a file, and the directories above it.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The directory.
    pub(crate) fn text(&self) -> &str {
        text(&self.directory)
    }

    /// Builds it as `NAME`, and returns the image's id.
    #[track_caller]
    pub(crate) fn build(&self, silo: &Silo, name: &str, args: &[&str]) -> String {
        silo.ok(&[&["build", "-t", name], args, &[self.text()]].concat())
    }

    /// The same with all that it says.
    #[track_caller]
    pub(crate) fn told(&self, silo: &Silo, args: &[&str]) -> Ended {
        let ended = silo.run(&[&["build"], args, &[self.text()]].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended
    }
}

/// The steps that were taken from before, by their instructions' first words.
pub(crate) fn cached(ended: &Ended) -> Vec<String> {
    let mut step = String::new();
    let mut found = Vec::new();
    for line in ended.stderr.lines() {
        if let Some((_, text)) = line.strip_prefix('[').and_then(|line| line.split_once("] ")) {
            step = text.split(' ').take(2).collect::<Vec<_>>().join(" ");
        } else if line == "  cached" {
            found.push(step.clone());
        }
    }
    found
}

/// Has every container, mount, temporary file and lease of builds be gone.
#[track_caller]
pub(crate) fn assert_nothing_left(silo: &Silo) {
    silo.assert_nothing_left(&[]);
    let root = silo.root();
    for folder in ["tmp", "cache/build/leases", "cache/build/scripts"] {
        let left = crate::support::visible_entries(&root.join(folder));
        assert!(left.is_empty(), "{folder} is not empty: {left:?}");
    }
    let checked = silo.run(&["system", "check"]);
    assert_eq!(checked.code, 0, "{checked:#?}");
}
