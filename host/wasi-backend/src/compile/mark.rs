//! A mark on components that were core modules for WASI 0.1: what they are given differs.

use wasm_encoder::{
    ComponentExportKind, ComponentExportSection, ComponentInstanceSection, ComponentSection as _,
};
use wasmparser::{BinaryReaderError, Validator};
use wasmtime::{Engine, component::Component};

/// An export that says so: an instance of nothing.
const MARK: &str = "silo:wasi/module";

/// Adds the mark at the component's end.
pub(super) fn mark(mut component: Vec<u8>) -> Result<Vec<u8>, BinaryReaderError> {
    let known =
        Validator::new_with_features(wasmparser::WasmFeatures::all()).validate_all(&component)?;
    let mut instances = ComponentInstanceSection::new();
    instances.export_items::<&str, _>([]);
    instances.append_to_component(&mut component);
    let mut exports = ComponentExportSection::new();
    let instance = known.as_ref().component_instance_count();
    exports.export(MARK, ComponentExportKind::Instance, instance, None);
    exports.append_to_component(&mut component);
    Ok(component)
}

/// Whether a component has the mark.
pub(crate) fn is_marked(engine: &Engine, component: &Component) -> bool {
    component.component_type().exports(engine).any(|(name, _)| name == MARK)
}
