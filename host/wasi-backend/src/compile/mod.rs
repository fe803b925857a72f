//! From a program's bytes to machine code.
//!
//! A core module is wrapped as a component with the WASI 0.1 adapter, so that there is one
//! kind of guest after this.

mod adapter;
mod cache;
mod format;
mod load;

use std::{hash::Hash, path::Path};

use silo_isolation::{Error, Result};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wasmtime::{Config, Engine, component::Component};

use cache::Cache;
pub(crate) use cache::Key;
use format::Format;

/// Stack of the guest's code, in bytes. CPython recurses deep.
const WASM_STACK: usize = 1 << 20;
/// The fiber that a guest runs on: its own stack and what the host's functions need.
const FIBER_STACK: usize = WASM_STACK + (1 << 20);

/// The compiler, and the code it made before.
pub(crate) struct Compiler {
    engine: Engine,
    cache: Cache,
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// Wraps an error of wasmtime with the step it failed in.
pub(crate) fn step(step: impl Into<String>) -> impl FnOnce(wasmtime::Error) -> Error {
    let step = step.into();
    move |error| Error::Step { step, source: error.into_boxed_dyn_error() }
}

impl Compiler {
    pub(crate) fn new(cache_dir: &Path) -> Result<Self> {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .max_wasm_stack(WASM_STACK)
            .async_stack_size(FIBER_STACK)
            .memory_init_cow(true);
        let engine = Engine::new(&config).map_err(step("set up wasmtime"))?;
        let cache = Cache::new(cache_dir, &compatibility(&engine));
        Ok(Self { engine, cache })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The program as a component, compiled now or before. `read` is not called when the
    /// cache knows the program by its `key`.
    pub(crate) fn component(
        &self,
        program: &str,
        key: Option<&Key>,
        read: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Component> {
        if let Some(component) = key.and_then(|key| self.cache.by_key(&self.engine, key)) {
            return Ok(component);
        }
        let bytes = read()?;
        let digest = blake3::hash(&bytes);
        if let Some(key) = key {
            self.cache.remember(key, &digest);
        }
        if let Some(component) = self.cache.load(&self.engine, &digest) {
            return Ok(component);
        }
        let _guard = self.cache.lock(&digest);
        if let Some(component) = self.cache.load(&self.engine, &digest) {
            return Ok(component);
        }
        let not_runnable =
            |reason| Error::ProgramNotRunnable { program: program.to_owned(), reason };
        let component = self.compile(&bytes).map_err(not_runnable)?;
        if let Ok(code) = component.serialize() {
            self.cache.store(&digest, &code);
        }
        Ok(component)
    }

    fn compile(&self, bytes: &[u8]) -> Result<Component, String> {
        let invalid = |error: wasmtime::Error| format!("it is not valid WebAssembly: {error:#}");
        match Format::of(bytes) {
            Format::Component => Component::from_binary(&self.engine, bytes).map_err(invalid),
            Format::Module => {
                let wrapped = wrap(bytes)?;
                Component::from_binary(&self.engine, &wrapped).map_err(invalid)
            }
            Format::Text => {
                let binary = wat::parse_bytes(bytes)
                    .map_err(|error| format!("it is not valid WebAssembly text: {error}"))?;
                match Format::of(&binary) {
                    Format::Text => Err("it is not WebAssembly".to_owned()),
                    _ => self.compile(&binary),
                }
            }
            Format::Other(what) => Err(format!("it is {what}, not WebAssembly")),
        }
    }
}

/// Makes a component of a core module for WASI 0.1.
fn wrap(module: &[u8]) -> Result<Vec<u8>, String> {
    let reason = |error| format!("it cannot be used as a WASI 0.1 program: {error:#}");
    let adapter = adapter::adapter()?;
    wit_component::ComponentEncoder::default()
        .validate(false)
        .module(module)
        .and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, &adapter))
        .and_then(|mut encoder| encoder.encode())
        .map_err(reason)
}

/// Names everything that compiled code depends on beside the program: wasmtime, its
/// settings, the processor and the adapter.
fn compatibility(engine: &Engine) -> String {
    struct Blake(blake3::Hasher);
    impl std::hash::Hasher for Blake {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }
    let mut hasher = Blake(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.update(WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER);
    hasher.0.update(&adapter::REVISION.to_le_bytes());
    hasher.0.finalize().to_hex()[..32].to_owned()
}
