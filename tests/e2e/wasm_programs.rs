//! `silo wasm`: what programs import and export, and their code before they run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::{Silo, guests, layout::File};

#[test]
fn an_image_tells_what_its_program_imports_and_exports() {
    let silo = guests::silo_with_module("(call $say)");
    let told = silo.ok(&["wasm", "inspect", "guest"]);
    let size = guests::module("(call $say)").len();
    assert_eq!(
        told,
        format!(
            "program  /guest.wasm\nkind     module\nsize     {size}B\nimports\n  \
             wasi_snapshot_preview1.fd_write\n  wasi_snapshot_preview1.proc_exit\nexports\n  \
             _start\n  memory"
        )
    );
    let format = "{{.Kind}} {{len .Imports}} {{.World}}";
    assert_eq!(silo.ok(&["wasm", "inspect", "-f", format, "guest"]), "module 2 <no value>");
    let message = silo.fails(1, &["wasm", "inspect", "--wit", "guest"]);
    assert!(message.contains("`/guest.wasm` has no world: it is no component"), "{message}");
}

#[test]
fn a_component_in_a_file_tells_its_world() {
    let silo = Silo::new();
    let text = r#"(component (import "wasi:random/insecure-seed@0.2.0"
        (instance (export "insecure-seed" (func (result (tuple u64 u64)))))))"#;
    let file = silo.file("c.wat", text);
    let path = file.to_str().unwrap();
    let world = silo.ok(&["wasm", "inspect", "--wit", path]);
    assert!(world.contains("import wasi:random/insecure-seed@0.2.0;"), "{world}");
    assert_eq!(silo.ok(&["wasm", "inspect", "-f", "{{.Kind}}", path]), "component");
    fs::write(&file, "#!/bin/sh\n").unwrap();
    let message = silo.fails(1, &["wasm", "inspect", path]);
    assert!(message.contains("is not WebAssembly, or damaged"), "{message}");
    let message = silo.fails(1, &["wasm", "inspect", "./none.wasm"]);
    assert!(message.contains("cannot read `./none.wasm`"), "{message}");
}

#[test]
fn what_was_compiled_before_is_not_compiled_by_its_first_run() {
    let silo = guests::silo_with_module("(call $say)");
    let code = || {
        let cache = silo.root().join("cache/wasm");
        let found =
            walk(&cache).into_iter().filter(|path| path.extension() == Some("cwasm".as_ref()));
        let mut found: Vec<_> =
            found.map(|path| (fs::metadata(&path).unwrap().modified().unwrap(), path)).collect();
        found.sort();
        found
    };
    assert_eq!(silo.ok(&["wasm", "compile", "guest"]), "/guest.wasm");
    let compiled = code();
    assert_eq!(compiled.len(), 1);
    assert_eq!(silo.ok(&["run", "--rm", "guest"]), "said");
    assert_eq!(code(), compiled);

    guests::load_program(&silo, "script", &[File::program("script.wasm", b"#!/bin/sh\n")]);
    let message = silo.fails(1, &["wasm", "compile", "script"]);
    assert!(message.contains("it is a script, not WebAssembly"), "{message}");
    let message = silo.fails(1, &["wasm", "compile", "none"]);
    assert!(message.contains("none"), "{message}");
}

/// The files below a directory.
fn walk(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
