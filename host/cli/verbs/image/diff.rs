//! `silo image diff`

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use clap::Args;
use serde_json::{Value, json};
use silo_layers::{Change, Image, Platform, Store, compare, union::UnionFs};

use crate::{
    context::Context,
    failure::{Failure, Result},
    output, values, wasm_program,
};

/// Tell how two images differ: files, configuration, and what WebAssembly programs import and export
///
/// A stands for what only the second has, C for what differs, D for what only the first has.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// Of the images for this platform
    #[arg(long, value_name = "OS/ARCH", value_parser = values::platform)]
    platform: Option<Platform>,
    /// json for one JSON object
    #[arg(long, value_name = "json")]
    format: Option<String>,
    /// Name or id
    before: String,
    /// Name or id
    after: String,
}

/// Lines under a heading.
struct Section {
    heading: &'static str,
    /// Letter, and what it is about.
    lines: Vec<(char, String)>,
}

impl Diff {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        if self.format.as_deref().is_some_and(|format| format != "json") {
            return Err(Failure::new("`image diff` has no format but json"));
        }
        let store = context.store()?;
        let _pin = store.pin()?;
        let resolve = |name: &str| store.resolve(name, self.platform.as_slice());
        let (before, after) = (resolve(&self.before)?, resolve(&self.after)?);
        let files = (store.files(&before)?, store.files(&after)?);
        let changes = compare(&files.0, &files.1)?;
        let mut sections = vec![
            Section { heading: "files", lines: changes.iter().map(line).collect() },
            Section { heading: "config", lines: configs(&store, &before, &after)? },
        ];
        let interfaces = (interface(&before, &files.0)?, interface(&after, &files.1)?);
        for (heading, part) in [("imports", 0), ("exports", 1)] {
            let names = |interface: &Option<[BTreeSet<String>; 2]>| {
                interface.as_ref().map(|parts| parts[part].clone()).unwrap_or_default()
            };
            let lines = names_that_differ(&names(&interfaces.0), &names(&interfaces.1));
            sections.push(Section { heading, lines });
        }
        output::print(&if self.format.is_some() {
            as_json(&sections)
        } else {
            as_text(&sections)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(change: &Change) -> (char, String) {
    (change.kind.letter(), change.path.clone())
}

/// What differs in all that the configs say, apart from their layers and how these came to be.
fn configs(store: &Store, before: &Image, after: &Image) -> Result<Vec<(char, String)>> {
    let flat = |image: &Image| -> Result<BTreeMap<String, Value>> {
        let mut members = BTreeMap::new();
        if let Value::Object(document) = store.config_document(image)? {
            for (name, value) in document {
                match (name.as_str(), value) {
                    ("rootfs" | "history" | "created", _) => {}
                    ("config", Value::Object(run)) => members.extend(run),
                    (_, value) => drop(members.insert(name, value)),
                }
            }
        }
        members.retain(|_, value| !value.is_null());
        Ok(members)
    };
    let (before, after) = (flat(before)?, flat(after)?);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let difference = |name: &String| match (before.get(name), after.get(name)) {
        (Some(one), Some(other)) if one == other => None,
        (Some(one), Some(other)) => Some(('C', format!("{name} {one} -> {other}"))),
        (None, Some(other)) => Some(('A', format!("{name} {other}"))),
        (Some(one), None) => Some(('D', format!("{name} {one}"))),
        (None, None) => None,
    };
    Ok(names.into_iter().filter_map(difference).collect())
}

fn names_that_differ(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Vec<(char, String)> {
    let gone = before.difference(after).map(|name| ('D', name.clone()));
    let new = after.difference(before).map(|name| ('A', name.clone()));
    let mut lines: Vec<_> = gone.chain(new).collect();
    lines.sort_by(|(_, one), (_, other)| one.cmp(other));
    lines
}

/// What the program of a WebAssembly image imports and exports; `None` for other images.
fn interface(image: &Image, files: &UnionFs) -> Result<Option<[BTreeSet<String>; 2]>> {
    if !image.platform.architecture.starts_with("wasm") {
        return Ok(None);
    }
    let Some(name) = wasm_program::name(image) else { return Ok(None) };
    // A program that is not there, or too large for one, has no interface to compare.
    let Some(program) = wasm_program::find(image, files, &name)? else { return Ok(None) };
    Ok(silo_wasi::interface(&program.bytes).map(|found| [found.imports, found.exports]))
}

fn as_text(sections: &[Section]) -> String {
    let line = |(letter, what): &(char, String)| format!("{letter} {}\n", output::visible(what));
    let text = |section: &Section| {
        let lines: String = section.lines.iter().map(line).collect();
        format!("{}\n{lines}", section.heading)
    };
    let told = sections.iter().filter(|section| !section.lines.is_empty());
    told.map(text).collect::<Vec<_>>().join("\n")
}

fn as_json(sections: &[Section]) -> String {
    let object: serde_json::Map<String, Value> = sections
        .iter()
        .map(|section| {
            let lines = section.lines.iter();
            let lines = lines.map(|(letter, what)| json!({ "Kind": letter, "What": what }));
            (section.heading.to_owned(), lines.collect())
        })
        .collect();
    format!("{}\n", Value::Object(object))
}
