//! The invariants that `ARCHITECTURE.md` lists, each checked against the sources and against
//! cargo's own view of the dependencies.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const PORTABLE: [&str; 6] =
    ["silo-layers", "silo-isolation", "silo-engine", "silo-wasi", "silo-registry", "silo-builder"];
const BACKENDS: [&str; 2] = ["silo-linux", "silo-wasi"];

/// One source file: its path from the root of the repository and its text.
struct Source {
    path: String,
    text: String,
}

/// One line of code outside of tests and comments.
struct Line<'a> {
    path: &'a str,
    number: usize,
    text: &'a str,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The sources below `folders`, without files that hold only tests.
fn sources(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        rust_files(&root().join(folder), &mut paths);
    }
    paths.sort();
    assert!(!paths.is_empty(), "no sources in {folders:?}");
    let relative = |path: &Path| {
        let path = path.strip_prefix(root()).expect("a path in the repository");
        path.to_string_lossy().replace('\\', "/")
    };
    let is_test = |path: &str| {
        path.ends_with("/tests.rs") || path.contains("/tests/") || path.contains("/examples/")
    };
    paths
        .iter()
        .map(|path| (relative(path), path))
        .filter(|(name, _)| !is_test(name))
        .map(|(name, path)| Source {
            text: fs::read_to_string(path).expect("a source"),
            path: name,
        })
        .collect()
}

impl Source {
    /// The code: no comments, and nothing from the first `#[cfg(test)] mod` on, which by
    /// convention stands at the end.
    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let end = self.text.find("#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        self.text[..end]
            .lines()
            .enumerate()
            .map(|(index, text)| Line { path: &self.path, number: index + 1, text })
            .filter(|line| !line.text.trim_start().starts_with("//"))
    }
}

/// Where one of `words` stands, as `path:line: text`.
fn places<'a>(sources: &'a [Source], words: &'a [&str]) -> Vec<String> {
    sources
        .iter()
        .flat_map(Source::lines)
        .filter(|line| words.iter().any(|word| line.text.contains(word)))
        .map(|line| format!("{}:{}: {}", line.path, line.number, line.text.trim()))
        .collect()
}

fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo's JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The direct dependencies of every crate of the workspace, development ones left out.
fn direct(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let members = metadata["workspace_members"].as_array().expect("members");
    metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter(|package| members.contains(&package["id"]))
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let names = dependencies.iter().filter(|one| text(one, "kind") != "dev");
            (
                text(package, "name").to_owned(),
                names.map(|one| text(one, "name").to_owned()).collect(),
            )
        })
        .collect()
}

/// Everything that `name` links on any system, itself left out.
fn linked(metadata: &Value, name: &str) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().expect("packages");
    let name_of: BTreeMap<&str, &str> =
        packages.iter().map(|one| (text(one, "id"), text(one, "name"))).collect();
    let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
    let node_of: BTreeMap<&str, &Value> = nodes.iter().map(|one| (text(one, "id"), one)).collect();
    let start = packages.iter().find(|one| text(one, "name") == name).expect("the crate");
    let mut seen = BTreeSet::new();
    let mut pending = vec![text(start, "id")];
    while let Some(id) = pending.pop() {
        for dependency in node_of[id]["deps"].as_array().expect("deps") {
            let kinds = dependency["dep_kinds"].as_array().expect("kinds");
            let package = text(dependency, "pkg");
            if kinds.iter().any(|kind| kind["kind"].is_null()) && seen.insert(package) {
                pending.push(package);
            }
        }
    }
    seen.into_iter().map(|id| name_of[id].to_owned()).collect()
}

#[test]
fn layers_and_the_contract_know_no_network_terminal_or_tokio() {
    let metadata = metadata();
    for name in ["silo-layers", "silo-isolation"] {
        let linked = linked(&metadata, name);
        for unwanted in [
            "tokio",
            "async-std",
            "reqwest",
            "ureq",
            "hyper",
            "rustls",
            "clap",
            "crossterm",
            "indicatif",
        ] {
            assert!(!linked.contains(unwanted), "{name} links {unwanted}");
        }
    }
    let sources = sources(&["layers/src", "host/isolation/src"]);
    let words = ["std::net", "TcpStream", "TcpListener", "UdpSocket", "UnixStream", "IsTerminal"];
    assert_none(&places(&sources, &words), "no network and no terminal here");
}

#[test]
fn backends_know_no_image_references_and_no_command_line() {
    let sources = sources(&["linux-backend/src", "host/wasi-backend/src"]);
    let words = ["silo_layers::Reference", "silo_layers::Store", "clap::", "Reference::from_str"];
    assert_none(
        &places(&sources, &words),
        "a backend is given a bundle, no image and no arguments",
    );
}

#[test]
fn crates_depend_only_downwards() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("silo-layers", &[][..]),
        ("silo-isolation", &["silo-layers"][..]),
        ("silo-linux", &["silo-layers", "silo-isolation"][..]),
        ("silo-wasi", &["silo-layers", "silo-isolation"][..]),
        ("silo-engine", &["silo-layers", "silo-isolation"][..]),
        ("silo-registry", &["silo-layers"][..]),
        ("silo-builder", &["silo-layers", "silo-isolation", "silo-engine"][..]),
    ]);
    let direct = direct(&metadata());
    for (name, allowed) in allowed {
        let own = direct[name].iter().filter(|one| one.starts_with("silo"));
        let wrong: Vec<_> = own.filter(|one| !allowed.contains(&one.as_str())).collect();
        assert!(wrong.is_empty(), "{name} depends on {wrong:?}");
    }
}

#[test]
fn only_the_program_links_backends() {
    let linking: Vec<String> = direct(&metadata())
        .into_iter()
        .filter(|(_, own)| BACKENDS.iter().any(|backend| own.contains(*backend)))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(linking, ["silo"], "backends are chosen by the program");
}

#[test]
fn the_engine_names_no_backend() {
    let sources = sources(&["host/engine/src"]);
    let words = ["silo_linux", "silo_wasi", "\"wasi\"", "\"linux\"", "wasmtime"];
    // The host's system and an image's are no backends.
    let systems = ["target_os = \"linux\"", "platform.os == \"linux\""];
    let found: Vec<_> = places(&sources, &words)
        .into_iter()
        .filter(|place| !systems.iter().any(|system| place.contains(system)))
        .collect();
    assert_none(&found, "the engine knows backends by the trait alone");
}

#[test]
fn unsafe_code_lives_in_two_places_and_says_why() {
    let sources = sources(&["layers/src", "linux-backend/src", "host"]);
    let mut wasi_files = BTreeSet::new();
    for source in &sources {
        let lines: Vec<&str> = source.text.lines().collect();
        for line in source.lines().filter(|line| has_unsafe(line.text)) {
            let place = format!("{}:{}", line.path, line.number);
            let in_wasi = line.path.starts_with("host/wasi-backend/src/");
            if in_wasi {
                wasi_files.insert(line.path.to_owned());
            }
            assert!(line.path.starts_with("linux-backend/src/sys") || in_wasi, "unsafe at {place}");
            assert!(is_explained(&lines, line.number - 1), "no SAFETY comment at {place}");
        }
    }
    assert!(wasi_files.len() <= 1, "one place loads compiled modules: {wasi_files:?}");
}

/// Whether a line opens an unsafe block, function or implementation.
fn has_unsafe(line: &str) -> bool {
    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|form| line.contains(form))
}

/// Whether a comment that says why stands within the lines above, or on the line.
fn is_explained(lines: &[&str], index: usize) -> bool {
    lines[index.saturating_sub(8)..=index]
        .iter()
        .any(|line| line.contains("SAFETY:") || line.contains("# Safety"))
}

#[test]
fn every_other_crate_forbids_unsafe_code() {
    for file in [
        "layers/src/lib.rs",
        "host/isolation/src/lib.rs",
        "host/engine/src/lib.rs",
        "host/registry/src/lib.rs",
        "host/builder/src/lib.rs",
        "host/cli/main.rs",
    ] {
        let text = fs::read_to_string(root().join(file)).expect(file);
        assert!(text.contains("#![forbid(unsafe_code)]"), "{file} does not forbid unsafe code");
    }
}

#[test]
fn only_the_program_prints_reads_the_environment_or_exits() {
    let sources = sources(&[
        "layers/src",
        "linux-backend/src",
        "host/isolation/src",
        "host/wasi-backend/src",
        "host/engine/src",
        "host/registry/src",
        "host/builder/src",
    ]);
    let words = [
        "println!(",
        "eprintln!(",
        "print!(",
        "eprint!(",
        "env::var",
        "env::args",
        "process::exit",
        "io::stdout()",
        "io::stderr()",
        "io::stdin()",
    ];
    // A supervisor's stdin and stdout are the pipes to its starter, which it takes as handles.
    let found: Vec<_> = places(&sources, &words)
        .into_iter()
        .filter(|place| !place.contains("().as_fd()") && !place.contains("().as_handle()."))
        .collect();
    assert_none(&found, "this is the program's to do");
}

#[test]
fn no_path_in_a_root_file_system_is_opened_by_its_string() {
    let sources = sources(&[
        "layers/src/union",
        "layers/src/tree",
        "layers/src/copy/guest",
        "layers/src/compose",
        "host/builder/src/build/copy.rs",
        "host/builder/src/context.rs",
    ]);
    let words = [
        "std::fs::File;",
        "std::fs::File::",
        "fs::read(",
        "fs::write(",
        "fs::read_dir(",
        "fs::read_link(",
        "fs::rename(",
        "fs::remove_",
        "fs::create_dir",
        "fs::metadata(",
        "fs::symlink_metadata(",
        "File::open(",
        "File::create(",
    ];
    assert_none(&places(&sources, &words), "trees are reached through directory handles");
}

/// What is built of others' packages, each with its features, by a `cargo` command of these arguments.
fn others_packages(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--no-dedupe", "--prefix=none"])
        .arg("--format={p} [{f}]")
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).expect("UTF-8");
    let is_others = |line: &&str| !line.starts_with("silo") && !line.starts_with("xtask");
    listed.lines().filter(is_others).map(str::to_owned).collect()
}

/// wasmtime takes minutes to compile, and is compiled once more with each other set of features.
#[test]
fn tests_are_built_with_the_packages_that_the_program_is_built_with() {
    let program = others_packages(&["--package=silo", "--edges=normal,build"]);
    let all = others_packages(&["--workspace", "--edges=normal,build,dev"]);
    let again: Vec<_> = program.difference(&all).cloned().collect();
    assert_none(&again, "other features are enabled when only the program is built");
}

#[test]
fn only_the_linux_backend_is_for_one_system() {
    let metadata = metadata();
    for name in PORTABLE {
        assert!(!linked(&metadata, name).contains("silo-linux"), "{name} links silo-linux");
    }
    let packages = metadata["packages"].as_array().expect("packages");
    let program = packages.iter().find(|one| text(one, "name") == "silo").expect("the program");
    for dependency in program["dependencies"].as_array().expect("dependencies") {
        if text(dependency, "name") == "silo-linux" {
            assert_eq!(text(dependency, "target"), "cfg(target_os = \"linux\")");
        }
    }
}
