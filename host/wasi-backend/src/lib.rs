//! The isolation backend for WebAssembly: guests run in wasmtime, in the supervisor's process.
//!
//! A guest is a core module for WASI 0.1 or a component for WASI 0.2. It sees the image's
//! files through the union file system, its volumes, its arguments and its environment, and
//! nothing else of the host: no path of a guest reaches the host's path resolution, and of the network
//! it has what the bundle names.
//!
//! - `vfs`: the guest's tree of files.
//! - `filesystem`: `wasi:filesystem` over it.
//! - `compile`: from a module's bytes to machine code, and its cache.
//! - `network`: the ports that it offers and whom it may reach; `wasi:sockets` by these rules.
//! - `http`: components that answer requests, and requests that guests make.
//! - `guest`: what a guest has in its store: streams, limits, time.
//! - `interface`: what a program imports and exports.
//! - `sandbox`: one guest's life; `resident`: a guest in a process that is a Linux container's.

mod admit;
mod compile;
mod filesystem;
mod guest;
mod http;
mod interface;
mod network;
mod resident;
mod sandbox;
#[cfg(test)]
mod tests;
mod vfs;

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use silo_isolation::{Barrier, Bundle, Error, IsolationBackend, Refusal, Result, Sandbox, Stdio};
use silo_layers::Platform;

use compile::Compiler;
pub use interface::{Interface, interface, world};
pub use resident::{Resident, Streams};
pub use sandbox::program::{PROGRAM_MAX, candidates};

/// Runs WebAssembly programs. Making one costs nothing; wasmtime is set up with the first
/// sandbox.
#[derive(Debug)]
pub struct WasiBackend {
    cache_dir: PathBuf,
    compiler: OnceLock<Compiler>,
}

impl WasiBackend {
    /// A backend that keeps compiled code below `cache_dir`, which it creates. What is there
    /// may be deleted at any time.
    #[must_use]
    pub fn new(cache_dir: PathBuf) -> Self {
        Self { cache_dir, compiler: OnceLock::new() }
    }

    fn compiler(&self) -> Result<&Compiler> {
        if let Some(compiler) = self.compiler.get() {
            return Ok(compiler);
        }
        let compiler = Compiler::new(&self.cache_dir)?;
        Ok(self.compiler.get_or_init(|| compiler))
    }
}

impl IsolationBackend for WasiBackend {
    fn name(&self) -> &'static str {
        "wasi"
    }

    fn platforms(&self) -> Vec<Platform> {
        ["wasi", "wasip1", "wasip2"].map(|os| Platform::new(os, "wasm")).into()
    }

    fn barriers(&self) -> Vec<Barrier> {
        let barrier =
            |name: &str, keeps: &str| Barrier { name: name.to_owned(), keeps: keeps.to_owned() };
        vec![
            barrier(
                "WebAssembly",
                "the guest's code from every address outside its own linear memory, and from system calls",
            ),
            barrier(
                "WASI capabilities",
                "the guest from all of the host but its own files, streams, clocks and random numbers",
            ),
            barrier(
                "union file system",
                "the guest's paths and symbolic links from the host's path resolution",
            ),
        ]
    }

    fn admit(&self, bundle: &Bundle) -> Vec<Refusal> {
        admit::refusals(bundle)
    }

    fn warm_up(&self) {
        let _ = self.compiler();
    }

    fn create(&self, bundle: &Bundle, stdio: Stdio) -> Result<Box<dyn Sandbox>> {
        let Stdio::Pipes { stdin, stdout, stderr } = stdio else {
            return Err(Error::Unsupported { what: admit::NO_TERMINAL.to_owned() });
        };
        sandbox::create(self.compiler()?, bundle, guest::Pipes { stdin, stdout, stderr })
    }

    /// A guest lives and dies in its supervisor's process, and leaves nothing on the host.
    fn reclaim(&self, _id: &str, _state_dir: &Path) -> Result<()> {
        Ok(())
    }
}
