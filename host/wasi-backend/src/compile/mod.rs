//! From a program's bytes to machine code.
//!
//! A core module is wrapped as a component with the WASI 0.1 adapter, so that there is one
//! kind of guest after this.

mod adapter;
mod bound;
mod cache;
mod compose;
mod format;
mod load;
mod mark;

use std::path::Path;

use silo_isolation::{Error, Result};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wasmtime::{Config, Engine, PoolingAllocationConfig, component::Component};

use crate::http::MAX_INSTANCES;

use cache::Cache;
pub(crate) use cache::Key;
pub(crate) use compose::compose;
use format::Format;
pub(crate) use mark::is_marked as was_module;

/// Stack of the guest's code, in bytes. CPython recurses deep.
const WASM_STACK: usize = 1 << 20;
/// The fiber that a guest runs on: its own stack and what the host's functions need.
const FIBER_STACK: usize = WASM_STACK + (1 << 20);

/// How much of an instance's memory stays for the next, in bytes: to give it back and get it again takes longer
/// than to clear it.
const KEPT: usize = 128 << 10;

/// The compiler, and the code it made before.
pub(crate) struct Compiler {
    /// Runs code and compiles none: to set a compiler up takes longer than a small program.
    engine: Engine,
    cache: Cache,
}

/// An engine, with a compiler or without: code of the one runs on the other.
fn engine(compiles: bool) -> Result<Engine> {
    Engine::new(&config(compiles)).map_err(step("set up wasmtime"))
}

fn config(compiles: bool) -> Config {
    let mut config = Config::new();
    config
        .enable_compiler(compiles)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(FIBER_STACK)
        .memory_init_cow(true);
    config
}

/// An engine for many short lives at once: what instances take is set aside, and used again. `None` where the host
/// does not give so much address space.
fn pooling_engine() -> Option<Engine> {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(MAX_INSTANCES)
        .total_core_instances(8 * MAX_INSTANCES)
        .total_memories(2 * MAX_INSTANCES)
        .total_tables(8 * MAX_INSTANCES)
        .total_stacks(MAX_INSTANCES)
        .max_tables_per_component(64)
        .max_memories_per_component(16)
        .max_core_instances_per_component(64)
        .linear_memory_keep_resident(KEPT)
        .table_keep_resident(KEPT);
    let mut config = config(false);
    config.allocation_strategy(pool);
    Engine::new(&config).ok()
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
        Ok(Self { engine: engine(false)?, cache: Cache::new(cache_dir, &compatibility()) })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The program on an engine that suits many instances at once, where there can be one; else as it is.
    pub(crate) fn for_many(
        &self,
        program: &str,
        key: Option<&Key>,
        component: Component,
        read: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Component> {
        match pooling_engine() {
            Some(engine) => self.component_on(&engine, program, key, read),
            None => Ok(component),
        }
    }

    /// The program as a component, compiled now or before. `read` is not called when the
    /// cache knows the program by its `key`.
    pub(crate) fn component(
        &self,
        program: &str,
        key: Option<&Key>,
        read: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Component> {
        self.component_on(&self.engine, program, key, read)
    }

    fn component_on(
        &self,
        on: &Engine,
        program: &str,
        key: Option<&Key>,
        read: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Component> {
        if let Some(component) = key.and_then(|key| self.cache.by_key(on, key)) {
            return Ok(component);
        }
        let bytes = read()?;
        let digest = blake3::hash(&bytes);
        if let Some(key) = key {
            self.cache.remember(key, &digest);
        }
        if let Some(component) = self.cache.load(on, &digest) {
            return Ok(component);
        }
        let _guard = self.cache.lock(&digest);
        if let Some(component) = self.cache.load(on, &digest) {
            return Ok(component);
        }
        let not_runnable =
            |reason| Error::ProgramNotRunnable { program: program.to_owned(), reason };
        let code = compile(&engine(true)?, &bytes).map_err(not_runnable)?;
        self.cache.store(&digest, &code.0);
        load::load_compiled(on, &code).map_err(step(format!("load {program}")))
    }
}

impl Compiler {
    /// The program as a component, where it was compiled before.
    pub(crate) fn cached(&self, bytes: &[u8]) -> Option<Component> {
        self.cache.load(&self.engine, &blake3::hash(bytes))
    }
}

/// Machine code that [`compile`] has just made.
struct Code(Vec<u8>);

fn compile(engine: &Engine, bytes: &[u8]) -> Result<Code, String> {
    let component = |bytes: &[u8]| {
        let code = engine.precompile_component(bytes);
        code.map(Code).map_err(|error| format!("it is not valid WebAssembly: {error:#}"))
    };
    match Format::of(bytes) {
        Format::Component => component(bytes),
        Format::Module => component(&wrap(bytes)?),
        Format::Text => {
            let binary = wat::parse_bytes(bytes)
                .map_err(|error| format!("it is not valid WebAssembly text: {error}"))?;
            match Format::of(&binary) {
                Format::Text => Err("it is not WebAssembly".to_owned()),
                _ => compile(engine, &binary),
            }
        }
        Format::Other(what) => Err(format!("it is {what}, not WebAssembly")),
    }
}

/// Makes a component of a core module for WASI 0.1.
fn wrap(module: &[u8]) -> Result<Vec<u8>, String> {
    let reason = |error| format!("it cannot be used as a WASI 0.1 program: {error:#}");
    let adapter = adapter::adapter()?;
    let component = wit_component::ComponentEncoder::default()
        .validate(false)
        .module(module)
        .and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, &adapter))
        .and_then(|mut encoder| encoder.encode())
        .map_err(reason)?;
    mark::mark(component)
        .map_err(|error| format!("it cannot be used as a WASI 0.1 program: {error}"))
}

/// Names what compiled code depends on beside the program: this crate and the adapter. That it suits
/// wasmtime, its settings and the processor is for wasmtime to find when it loads it.
fn compatibility() -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(env!("CARGO_PKG_VERSION").as_bytes());
    hasher.update(WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER);
    hasher.update(&adapter::REVISION.to_le_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}
