//! The adapter from WASI 0.1 to 0.2, changed to tell exit codes and to write in large pieces.
//!
//! The adapter as published knows success and failure only: it calls `wasi:cli/exit.exit`,
//! whose argument in machine terms is 0 or 1. `exit-with-code` takes a code in the same place,
//! so the import is renamed, and `proc_exit` is replaced by a function that hands its argument
//! on.
//!
//! It has no sockets: what asks for them is a trap there. Here connections are accepted by opening a file
//! in what is open for that when the program starts, are read and written as files, and shut down by
//! setting their size (`filesystem/sockets.rs` is the other side).
//!
//! And it writes 4096 bytes at a time, the most that `blocking-write-and-flush` must take. Silo's
//! takes more (`guest/writes.rs`), so that number is another.

use std::collections::HashMap;

use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as PUBLISHED;
use wasm_encoder::{
    CodeSection, Encode as _, EntityType, Function, ImportSection, Instruction, Module, RawSection,
    reencode::Reencode,
};
use wasmparser::{
    BinaryReaderError, ExternalKind, FunctionBody, Operator, Parser, Payload, TypeRef,
};

/// Changes whenever what [`adapter`] makes of the same adapter does.
pub(super) const REVISION: u32 = 3;

/// How much the adapter writes at a time as published, in bytes.
const PUBLISHED_PIECE: i32 = 4096;
/// How much it writes at a time here.
const PIECE: i32 = 1 << 20;

/// Where the adapter's functions are.
struct Functions {
    /// The imported `exit`.
    exit: u32,
    /// The exported `proc_exit`, counted without the imports.
    proc_exit: u32,
    /// The one that cuts what is written into pieces, counted without the imports.
    write: u32,
    /// What is exported, by name, with the number of imports, counted with them.
    exports: HashMap<String, u32>,
    imported: u32,
}

impl Functions {
    /// The body that takes the place of the function `index`, counted without the imports.
    fn replaced(&self, index: u32) -> Option<Function> {
        if index == self.proc_exit {
            return Some(hand_on(self.exit));
        }
        let is = |name: &str| self.exports.get(name) == Some(&(index + self.imported));
        let export = |name: &str| self.exports.get(name).copied();
        if is("sock_accept") {
            export("path_open").map(accept)
        } else if is("sock_recv") {
            export("fd_read").map(receive)
        } else if is("sock_send") {
            export("fd_write").map(send)
        } else if is("sock_shutdown") {
            export("fd_filestat_set_size").map(shut_down)
        } else {
            None
        }
    }
}

/// The adapter for command programs.
pub(super) fn adapter() -> Result<Vec<u8>, String> {
    let error = |error: &dyn std::fmt::Display| format!("the WASI 0.1 adapter is broken: {error}");
    let functions = functions().map_err(|cause| error(&cause))?;
    let functions = functions.ok_or_else(|| error(&"it ends or writes in another way"))?;
    rewrite(&functions).map_err(|cause| error(&cause))
}

fn functions() -> Result<Option<Functions>, BinaryReaderError> {
    let (mut imported, mut exit, mut proc_exit, mut flush) = (0, None, None, None);
    let (mut bodies, mut exports) = (Vec::new(), HashMap::new());
    for payload in Parser::new(0).parse_all(PUBLISHED) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    if let TypeRef::Func(_) = import.ty {
                        if is_exit(import.module, import.name) {
                            exit = Some(imported);
                        }
                        if import.name == "[method]output-stream.blocking-write-and-flush" {
                            flush = Some(imported);
                        }
                        imported += 1;
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        exports.insert(export.name.to_owned(), export.index);
                    }
                }
                proc_exit = exports.get("proc_exit").and_then(|index| index.checked_sub(imported));
            }
            Payload::CodeSectionEntry(body) => bodies.push(body),
            _ => {}
        }
    }
    let write = match flush {
        Some(flush) => writer(&bodies, imported, flush)?,
        None => None,
    };
    let found = exit.zip(proc_exit).zip(write);
    Ok(found.map(|((exit, proc_exit), write)| Functions {
        exit,
        proc_exit,
        write,
        exports,
        imported,
    }))
}

/// The function that calls what calls the import `flush`, and knows the size of pieces.
fn writer(
    bodies: &[FunctionBody<'_>],
    imported: u32,
    flush: u32,
) -> Result<Option<u32>, BinaryReaderError> {
    let mut wrapper = None;
    for (body, index) in bodies.iter().zip(imported..) {
        if has(
            body,
            |operator| matches!(operator, Operator::Call { function_index } if *function_index == flush),
        )? {
            wrapper = Some(index);
        }
    }
    for (body, index) in bodies.iter().zip(0..) {
        let calls = |operator: &Operator<'_>| matches!(operator, Operator::Call { function_index } if Some(*function_index) == wrapper);
        if has(body, calls)? && has(body, is_piece)? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

fn has(
    body: &FunctionBody<'_>,
    wanted: impl Fn(&Operator<'_>) -> bool,
) -> Result<bool, BinaryReaderError> {
    for operator in body.get_operators_reader()? {
        if wanted(&operator?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_piece(operator: &Operator<'_>) -> bool {
    matches!(operator, Operator::I32Const { value: PUBLISHED_PIECE })
}

/// The body with pieces of another size.
fn in_large_pieces(body: &FunctionBody<'_>) -> Result<Vec<u8>, BinaryReaderError> {
    let mut changed = Vec::new();
    let mut copied = body.range().start;
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let start = operators.original_position();
        if is_piece(&operators.read()?) {
            changed.extend_from_slice(&PUBLISHED[copied..start]);
            Instruction::I32Const(PIECE).encode(&mut changed);
            copied = operators.original_position();
        }
    }
    changed.extend_from_slice(&PUBLISHED[copied..body.range().end]);
    Ok(changed)
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
                if let Some(function) = functions.replaced(code.len()) {
                    code.function(&function);
                } else if code.len() == functions.write {
                    code.raw(&in_large_pieces(&body)?);
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

/// As WASI 0.1 numbers them.
const NOT_SUPPORTED: i32 = 58;
const NONBLOCK: i32 = 4;
const READ_AND_WRITE: i64 = 1 << 1 | 1 << 6;
const PEEK: i32 = 1;

/// `sock_accept(fd, flags, connection)` by `path_open`: the flag not to wait is in the place of the one to
/// create a file, `excl`, which has the same number.
fn accept(path_open: u32) -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    code.local_get(0).i32_const(0).i32_const(0).i32_const(0);
    code.local_get(1).i32_const(NONBLOCK).i32_and();
    code.i64_const(READ_AND_WRITE).i64_const(READ_AND_WRITE);
    code.local_get(1).local_get(2).call(path_open).end();
    function
}

/// `sock_recv(fd, buffers, count, flags, received, flags_received)` by `fd_read`.
fn receive(fd_read: u32) -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    code.local_get(3).i32_const(PEEK).i32_and();
    code.if_(wasm_encoder::BlockType::Empty).i32_const(NOT_SUPPORTED).return_().end();
    code.local_get(5).i32_const(0);
    code.i32_store16(wasm_encoder::MemArg { offset: 0, align: 1, memory_index: 0 });
    code.local_get(0).local_get(1).local_get(2).local_get(4).call(fd_read).end();
    function
}

/// `sock_send(fd, buffers, count, flags, sent)` by `fd_write`.
fn send(fd_write: u32) -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    code.local_get(0).local_get(1).local_get(2).local_get(4).call(fd_write).end();
    function
}

/// `sock_shutdown(fd, how)` by `fd_filestat_set_size`.
fn shut_down(set_size: u32) -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    code.local_get(0).local_get(1).i64_extend_i32_u().call(set_size).end();
    function
}
