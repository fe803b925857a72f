//! Several components as one: what a program imports, others export.

use std::collections::BTreeSet;

use silo_isolation::{Error, Result};
use wasm_compose::graph::{
    Component, CompositionGraph, EncodeOptions, ExportIndex, ImportIndex, InstanceId,
};

use wasmparser::{Validator, WasmFeatures};

use super::{Format, wrap};

/// A program's file: its name in messages, and its bytes.
pub(crate) type Part = (String, Vec<u8>);

/// The program with its imports connected to what the other `parts` export. A part's own imports come from
/// those after it. What nobody exports is imported by the whole, and is for WASI.
pub(crate) fn compose(program: Part, parts: Vec<Part>) -> Result<Vec<u8>> {
    if parts.is_empty() {
        return Ok(program.1);
    }
    let name = program.0.clone();
    let not_runnable = |reason| Error::ProgramNotRunnable { program: name, reason };
    let all = [vec![program], parts].concat();
    join(all).map_err(not_runnable)
}

fn join(parts: Vec<Part>) -> Result<Vec<u8>, String> {
    let mut graph = CompositionGraph::new();
    // One for all: types of several parts are compared.
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut instances = Vec::new();
    let names: Vec<String> = parts.iter().map(|(name, _)| name.clone()).collect();
    for (number, (name, bytes)) in parts.into_iter().enumerate() {
        let bytes = component(bytes).map_err(|reason| format!("{name}: {reason}"))?;
        let broken = |error| format!("{name} is not a valid component: {error:#}");
        // Names within the graph are for its errors alone, and each its own.
        let parsed = Component::from_bytes(&mut validator, format!("part{number}"), bytes)
            .map_err(broken)?;
        let id = graph.add_component(parsed).map_err(broken)?;
        instances.push(graph.instantiate(id).map_err(broken)?);
    }
    let mut connected = BTreeSet::new();
    for source in 1..instances.len() {
        let mut used = false;
        for target in 0..source {
            for (export, import) in matches(&graph, instances[source], instances[target]) {
                used = true;
                // The first that exports it is meant.
                if !connected.insert((target, import.0)) {
                    continue;
                }
                let misfit =
                    |error| format!("{} does not fit {}: {error:#}", names[source], names[target]);
                graph
                    .connect(instances[source], Some(export), instances[target], import)
                    .map_err(misfit)?;
            }
        }
        if !used {
            return Err(format!("nothing imports what {} exports", names[source]));
        }
    }
    let options =
        EncodeOptions { define_components: true, export: Some(instances[0]), validate: false };
    graph.encode(options).map_err(|error| format!("its parts do not make one: {error:#}"))
}

/// A part as a component in binary form.
fn component(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    match Format::of(&bytes) {
        Format::Component => Ok(bytes),
        Format::Module => wrap(&bytes),
        Format::Text => {
            let binary = wat::parse_bytes(&bytes)
                .map_err(|error| format!("it is not valid WebAssembly text: {error}"))?;
            match Format::of(&binary) {
                Format::Module => wrap(&binary),
                _ => Ok(binary.into_owned()),
            }
        }
        Format::Other(what) => Err(format!("it is {what}, not WebAssembly")),
    }
}

/// Which exports of one instance another imports.
fn matches(
    graph: &CompositionGraph<'_>,
    source: InstanceId,
    target: InstanceId,
) -> Vec<(ExportIndex, ImportIndex)> {
    let of = |instance| graph.get_component_of_instance(instance);
    let (Some((_, source)), Some((_, target))) = (of(source), of(target)) else {
        return Vec::new();
    };
    let export = |wanted: &str| {
        let mut exports = source.exports();
        exports.find(|(_, name, ..)| is_compatible(name, wanted)).map(|(index, ..)| index)
    };
    let imports = target.imports();
    imports.filter_map(|(import, name, _)| Some((export(name)?, import))).collect()
}

/// Whether an export can stand for an import: by the same name, of versions that suit each other.
fn is_compatible(export: &str, import: &str) -> bool {
    match (export.split_once('@'), import.split_once('@')) {
        (Some((export, own)), Some((import, wanted))) => {
            export == import && track(own) == track(wanted)
        }
        _ => export == import,
    }
}

/// What compatible versions have in common: all but what may be added to.
fn track(version: &str) -> &str {
    let mut significant = 0;
    for (at, part) in version.split('.').scan(0, |end, part| {
        *end += part.len() + 1;
        Some((*end - 1, part))
    }) {
        significant = at;
        if part != "0" {
            break;
        }
    }
    if version.contains(['-', '+']) { version } else { &version[..significant] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_suit_each_other_as_semver_says() {
        for (one, other, suits) in [
            ("a:b/c@1.2.3", "a:b/c@1.9.0", true),
            ("a:b/c@1.2.3", "a:b/c@2.2.3", false),
            ("a:b/c@0.2.0", "a:b/c@0.2.12", true),
            ("a:b/c@0.2.0", "a:b/c@0.3.0", false),
            ("a:b/c@0.0.1", "a:b/c@0.0.2", false),
            ("a:b/c@0.2.0-rc", "a:b/c@0.2.0", false),
            ("a:b/c@1.0.0", "a:b/d@1.0.0", false),
            ("a:b/c", "a:b/c", true),
            ("a:b/c", "a:b/c@1.0.0", false),
        ] {
            assert_eq!(is_compatible(one, other), suits, "{one} for {other}");
        }
    }
}
