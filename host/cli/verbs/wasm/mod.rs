//! What `silo wasm` does with WebAssembly programs.

pub(crate) mod compile;
pub(crate) mod inspect;

use silo_layers::Platform;

use crate::{
    context::Context,
    failure::{Failure, Result},
    wasm_program::{self, Program},
};

/// The program of the image called `name` for the platform `wanted`.
fn program(context: &Context, name: &str, wanted: Option<&Platform>) -> Result<Program> {
    let store = context.store()?;
    let _pin = store.pin()?;
    let image = store.resolve(name, &[wanted.cloned().unwrap_or_else(Platform::wasi)])?;
    let lacks = |what: String| Failure::new(format!("the image `{name}` {what}"));
    let program = wasm_program::name(&image)
        .ok_or_else(|| lacks("names no program: it has neither entrypoint nor command".into()))?;
    wasm_program::find(&image, &store.files(&image)?, &program)?
        .ok_or_else(|| lacks(format!("starts `{program}`, which is not in it")))
}
