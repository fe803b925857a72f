//! What all verbs share: where the store lies, and the store, the backends and the engine.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use silo_engine::Engine;
use silo_isolation::IsolationBackend;
use silo_layers::Store;

use crate::{
    failure::{Failure, Result},
    verbs::supervise,
};

/// Opens what a verb needs, when it needs it.
pub(crate) struct Context {
    root: PathBuf,
}

impl Context {
    /// The store is at `root`, else at `$SILO_ROOT`, else where the system keeps such things.
    pub(crate) fn new(root: Option<PathBuf>) -> Result<Self> {
        let given = root.or_else(|| variable("SILO_ROOT").map(PathBuf::from));
        let root = given.map_or_else(default_root, Ok)?;
        let root = std::path::absolute(&root).map_err(|source| {
            Failure::caused(format!("cannot make `{}` absolute", root.display()), source)
        })?;
        Ok(Self { root })
    }

    /// Where the store lies.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The images, without the containers.
    pub(crate) fn store(&self) -> Result<Store> {
        enter_own_users()?;
        Ok(Store::open(&self.root)?)
    }

    /// Containers, images and backends.
    pub(crate) fn engine(&self) -> Result<Engine> {
        enter_own_users()?;
        Ok(Engine::open(&self.root, self.backends(), supervise::launcher(&self.root)?)?)
    }

    /// The backend for WebAssembly.
    pub(crate) fn wasi(&self) -> silo_wasi::WasiBackend {
        silo_wasi::WasiBackend::new(self.root.join("cache").join("wasm"))
    }

    /// The backends that this program was built with, the preferred first.
    pub(crate) fn backends(&self) -> Vec<Arc<dyn IsolationBackend>> {
        vec![
            #[cfg(target_os = "linux")]
            Arc::new(silo_linux::LinuxBackend::new()),
            Arc::new(self.wasi()),
        ]
    }
}

/// Whatever is in the store is as it is to the ids that are lent to this user.
#[cfg(target_os = "linux")]
fn enter_own_users() -> Result<()> {
    Ok(silo_linux::enter_own_users()?)
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
fn enter_own_users() -> Result<()> {
    Ok(())
}

/// An environment variable that is set to something.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Where the system keeps such things.
pub(crate) fn default_root() -> Result<PathBuf> {
    #[cfg(target_os = "linux")]
    if silo_layers::tree::is_privileged() {
        return Ok(PathBuf::from("/var/lib/silo"));
    }
    let home = |below: &str| Some(PathBuf::from(variable("HOME")?).join(below));
    let found = if cfg!(windows) {
        variable("LOCALAPPDATA").map(PathBuf::from)
    } else if cfg!(target_os = "macos") {
        home("Library/Application Support")
    } else {
        // A relative XDG_DATA_HOME is invalid by the specification, and ignored.
        variable("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| home(".local/share"))
    };
    found.map(|path| path.join("silo")).ok_or_else(|| {
        Failure::new("cannot tell where to keep the store: there is no home directory")
            .with_hint("name a directory with --root DIR or SILO_ROOT")
    })
}
