//! The adapter from WASI 0.1 to 0.2, changed to tell exit codes.
//!
//! The adapter as published knows success and failure only: it calls `wasi:cli/exit.exit`,
//! whose argument in machine terms is 0 or 1. `exit-with-code` takes a code in the same place,
//! so the import is renamed, and `proc_exit` is replaced by a function that hands its argument
//! on.

use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as PUBLISHED;
use wasm_encoder::{
    CodeSection, EntityType, Function, ImportSection, Module, RawSection, reencode::Reencode,
};
use wasmparser::{BinaryReaderError, ExternalKind, Parser, Payload, TypeRef};

/// Changes whenever what [`adapter`] makes of the same adapter does.
pub(super) const REVISION: u32 = 1;

/// Where the adapter's functions are.
struct Functions {
    /// The imported `exit`.
    exit: u32,
    /// The exported `proc_exit`, counted without the imports.
    proc_exit: u32,
}

/// The adapter for command programs.
pub(super) fn adapter() -> Result<Vec<u8>, String> {
    let error = |error: &dyn std::fmt::Display| format!("the WASI 0.1 adapter is broken: {error}");
    let functions = functions().map_err(|cause| error(&cause))?;
    let functions = functions.ok_or_else(|| error(&"it has no proc_exit"))?;
    rewrite(&functions).map_err(|cause| error(&cause))
}

fn functions() -> Result<Option<Functions>, BinaryReaderError> {
    let (mut imported, mut exit, mut proc_exit) = (0, None, None);
    for payload in Parser::new(0).parse_all(PUBLISHED) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    if let TypeRef::Func(_) = import.ty {
                        if is_exit(import.module, import.name) {
                            exit = Some(imported);
                        }
                        imported += 1;
                    }
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if export.kind == ExternalKind::Func && export.name == "proc_exit" {
                        proc_exit = export.index.checked_sub(imported);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(exit.zip(proc_exit).map(|(exit, proc_exit)| Functions { exit, proc_exit }))
}

fn is_exit(module: &str, name: &str) -> bool {
    module.starts_with("wasi:cli/exit@") && name == "exit"
}

fn rewrite(functions: &Functions) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut module = Module::new();
    let mut code = CodeSection::new();
    for payload in Parser::new(0).parse_all(PUBLISHED) {
        match payload? {
            Payload::ImportSection(imports) => {
                let mut renamed = ImportSection::new();
                for import in imports.into_imports() {
                    let import = import?;
                    let exit = is_exit(import.module, import.name);
                    let name = if exit { "exit-with-code" } else { import.name };
                    let kind: EntityType =
                        wasm_encoder::reencode::RoundtripReencoder.entity_type(import.ty)?;
                    renamed.import(import.module, name, kind);
                }
                module.section(&renamed);
            }
            // Its functions follow as payloads of their own.
            Payload::CodeSectionStart { .. } => {}
            Payload::CodeSectionEntry(body) => {
                if code.len() == functions.proc_exit {
                    code.function(&hand_on(functions.exit));
                } else {
                    code.raw(&PUBLISHED[body.range()]);
                }
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    flush(&mut module, &mut code);
                    module.section(&RawSection { id, data: &PUBLISHED[range] });
                }
            }
        }
    }
    flush(&mut module, &mut code);
    Ok(module.finish())
}

/// Ends the code section, if one is open.
fn flush(module: &mut Module, code: &mut CodeSection) {
    if !code.is_empty() {
        module.section(&std::mem::take(code));
    }
}

/// `proc_exit` as it should be: the low eight bits of its argument are the exit code.
fn hand_on(exit: u32) -> Function {
    let mut function = Function::new([]);
    function.instructions().local_get(0).i32_const(0xff).i32_and().call(exit).unreachable().end();
    function
}
