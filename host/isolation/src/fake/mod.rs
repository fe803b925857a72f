//! A backend whose guests are Rust functions on threads: for tests of what uses backends, and the
//! smallest example of the contract. It isolates nothing.
//!
//! [`FakeBackend`] runs the [`Program`]s it was given by name. [`programs`] are those that the
//! conformance suite needs.

mod files;
pub mod programs;
mod sandbox;

use std::{collections::BTreeMap, path::Path};

pub use files::Files;
pub use sandbox::{Context, Stopped, ThreadSandbox};

use crate::{
    Barrier, Bundle, Error, IsolationBackend, MountKind, Network, Refusal, Result, Sandbox, Stdio,
};
use silo_layers::Platform;

/// What a guest is: it gets its [`Context`] and returns its exit code, or `Stopped` when it was
/// ended from outside.
pub type Program = fn(&mut Context) -> std::result::Result<u8, Stopped>;

/// A backend that runs [`Program`]s by their name.
pub struct FakeBackend {
    name: &'static str,
    platform: Platform,
    programs: BTreeMap<&'static str, Program>,
}

impl FakeBackend {
    /// A backend called `name` that runs `programs` for images of `platform`.
    #[must_use]
    pub fn new(
        name: &'static str,
        platform: Platform,
        programs: &[(&'static str, Program)],
    ) -> Self {
        Self { name, platform, programs: programs.iter().copied().collect() }
    }
}

impl Default for FakeBackend {
    fn default() -> Self {
        Self::new("fake", Platform::new("fake", "threads"), programs::ALL)
    }
}

impl IsolationBackend for FakeBackend {
    fn name(&self) -> &'static str {
        self.name
    }

    fn platforms(&self) -> Vec<Platform> {
        vec![self.platform.clone()]
    }

    fn barriers(&self) -> Vec<Barrier> {
        Vec::new()
    }

    fn admit(&self, bundle: &Bundle) -> Vec<Refusal> {
        let limits = &bundle.limits;
        let tmpfs = bundle.mounts.iter().any(|m| matches!(m.kind, MountKind::Tmpfs { .. }));
        [
            (bundle.process.terminal, "a terminal", "its guests have only pipes"),
            (bundle.process.user.is_some(), "a user", "its guests have none"),
            (bundle.network == Network::Host, "the host's network", "its guests have no network"),
            (!bundle.access.is_empty(), "ports and peers", "its guests have no network"),
            (!bundle.components.is_empty(), "more components", "its guests are functions"),
            (limits.memory.is_some(), "a memory limit", "its guests share one heap"),
            (limits.nano_cpus.is_some(), "a limit of processor time", "its guests are threads"),
            (tmpfs, "a tmpfs", "it keeps no files in memory"),
        ]
        .into_iter()
        .filter(|&(asked, ..)| asked)
        .map(|(_, what, why)| Refusal { what: what.to_owned(), why: why.to_owned() })
        .collect()
    }

    fn create(&self, bundle: &Bundle, stdio: Stdio) -> Result<Box<dyn Sandbox>> {
        let files = Files::open(bundle)?;
        let name = bundle.process.args.first().cloned().unwrap_or_default();
        let Some(&program) = self.programs.get(name.as_str()) else {
            return Err(if files.read(&name).is_ok() {
                Error::ProgramNotRunnable { program: name, reason: "it is a file".to_owned() }
            } else {
                Error::ProgramNotFound { program: name, path: None }
            });
        };
        Ok(Box::new(ThreadSandbox::new(program, &bundle.process, files, stdio)?))
    }

    fn reclaim(&self, _id: &str, _state_dir: &Path) -> Result<()> {
        // A guest is a thread of the supervisor's and ends with it.
        Ok(())
    }
}
