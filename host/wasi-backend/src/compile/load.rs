//! The one place that takes bytes for machine code.
#![allow(unsafe_code, reason = "wasmtime trusts what it loads; this module says why it may")]

use std::path::Path;

use wasmtime::{Engine, component::Component};

use super::Code;

/// A file whose bytes were found to be what a silo of this user compiled, and have not changed since:
/// only [`super::cache`] makes one, after all of its checks.
pub(super) struct Verified<'a>(pub(super) &'a Path);

/// Maps compiled code into memory. An error means that it was made for another engine.
pub(super) fn load(engine: &Engine, file: &Verified<'_>) -> wasmtime::Result<Component> {
    // SAFETY: the file must hold, unmodified, what `Component::serialize` returned, and stay
    // so while it is mapped. Its checksum says that it is what `Cache::store` wrote, or said so
    // before and the file has not changed since. It is a regular file of this user in a
    // directory of this user that nobody else may enter, so only this user, who could as well
    // change this process, can have forged or can change it. silo never writes to a file under
    // its final name: it renames new ones over it.
    unsafe { Component::deserialize_file(engine, file.0) }
}

/// Loads what this process has compiled itself.
pub(super) fn load_compiled(engine: &Engine, code: &Code) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are what `Engine::precompile_component` returned: only `super::compile`
    // makes a `Code`, and nothing changes one.
    unsafe { Component::deserialize(engine, &code.0) }
}
