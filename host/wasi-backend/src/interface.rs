//! What a program imports and exports.

use std::collections::BTreeSet;

use wasmparser::{Encoding, Parser, Payload};
use wit_component::{DecodedWasm, WitPrinter};

/// The names of what a WebAssembly module or component needs and offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Of a component, `wasi:cli/stdout@0.2.0`; of a module, `wasi_snapshot_preview1.fd_write`.
    pub imports: BTreeSet<String>,
    /// Of a component, `wasi:cli/run@0.2.0`; of a module, `_start`.
    pub exports: BTreeSet<String>,
    /// Whether it is a component; else a module.
    pub is_component: bool,
}

/// What a module or component imports and exports; `None` for what is neither, or damaged. The text
/// format is read too.
#[must_use]
pub fn interface(program: &[u8]) -> Option<Interface> {
    let binary = wat::parse_bytes(program).ok()?;
    let mut interface = Interface::default();
    // What is nested in a component is its own matter.
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(&binary) {
        match payload.ok()? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            payload if depth == 0 => interface.add(payload)?,
            _ => {}
        }
    }
    Some(interface)
}

/// The world of a component, as text in WIT; `None` for what is no component, or damaged. The text
/// format is read too.
#[must_use]
pub fn world(program: &[u8]) -> Option<String> {
    let binary = wat::parse_bytes(program).ok()?;
    if !interface(&binary)?.is_component {
        return None;
    }
    let DecodedWasm::Component(resolve, world) = wit_component::decode(&binary).ok()? else {
        return None;
    };
    let mut printer = WitPrinter::default();
    printer.print(&resolve, resolve.worlds[world].package?, &[]).ok()?;
    Some(printer.output.to_string())
}

impl Interface {
    fn add(&mut self, payload: Payload<'_>) -> Option<()> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.is_component = encoding == Encoding::Component;
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.ok()?;
                    self.imports.insert(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    self.exports.insert(export.ok()?.name.to_owned());
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    self.imports.insert(import.ok()?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    self.exports.insert(export.ok()?.name.name.to_owned());
                }
            }
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_says_what_it_imports_and_exports() {
        let text = br#"(module (import "env" "log" (func)) (func (export "_start")))"#;
        let found = interface(text).unwrap();
        assert_eq!(found.imports, BTreeSet::from(["env.log".to_owned()]));
        assert_eq!(found.exports, BTreeSet::from(["_start".to_owned()]));
    }

    #[test]
    fn a_component_says_its_own_and_not_what_is_nested_in_it() {
        let text = br#"(component
            (import "wasi:cli/x@0.2.0" (instance))
            (core module (import "a" "b" (func)) (func (export "inner"))))"#;
        let found = interface(text).unwrap();
        assert_eq!(found.imports, BTreeSet::from(["wasi:cli/x@0.2.0".to_owned()]));
        assert!(found.exports.is_empty());
        assert!(found.is_component);
    }

    #[test]
    fn a_component_has_a_world_and_a_module_has_none() {
        let text = br#"(component (import "wasi:random/insecure-seed@0.2.0"
            (instance (export "insecure-seed" (func (result (tuple u64 u64)))))))"#;
        let world = world(text).unwrap();
        assert!(world.contains("import wasi:random/insecure-seed@0.2.0;"), "{world}");
        assert_eq!(super::world(b"(module)"), None);
        assert_eq!(super::world(b"\0asm\x0d\0\x01\0\xff"), None);
    }

    #[test]
    fn what_is_no_program_has_no_interface() {
        assert_eq!(interface(b"#!/bin/sh"), None);
        assert_eq!(interface(b"\0asm\x01\0\0\0\x01\xff"), None);
    }
}
