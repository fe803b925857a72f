//! The machine that the tests run on.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Whether nothing may be left out.
fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Tells that a test is left out; fails it under CI.
#[track_caller]
pub(crate) fn leave_out(why: &str) {
    assert!(!is_ci(), "CI=true allows nothing to be left out: {why}");
    eprintln!("left out: {why}");
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    status_field("self", "Uid").is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
}

/// Whether root's tests run; tells when not.
#[track_caller]
pub(crate) fn needs_root() -> bool {
    if !is_root() {
        leave_out("it needs root");
    }
    is_root()
}

/// A file that `.ci/setup` made, or `None`, and the test is left out.
#[track_caller]
pub(crate) fn data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SILO_TEST_DATA").map_or_else(default_data, PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    leave_out(&format!("{} is not there; .ci/setup makes it", path.display()));
    None
}

/// Where `.ci/env.sh` puts the data.
fn default_data() -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), Into::into);
    let shared = cache.join("silo-test");
    if shared.exists() {
        return shared;
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-data")
}

/// A path as text; those of the tests are.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// The processes whose command line contains `text`.
pub(crate) fn processes_naming(text: &str) -> Vec<u32> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            *pid != own && String::from_utf8_lossy(&line).contains(text)
        })
        .collect()
}

/// A field of `/proc/PID/status`.
pub(crate) fn status_field(pid: &str, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field_of(&status, field)
}

/// A field of the text of a `/proc/PID/status`.
pub(crate) fn field_of(status: &str, field: &str) -> Option<String> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Every control group of every hierarchy.
pub(crate) fn control_groups() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(entry.path());
                found.push(entry.path());
            }
        }
    }
    found
}

/// Runs a command that succeeds; what it prints.
#[track_caller]
pub(crate) fn done(command: &mut std::process::Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {why}", output.status);
    String::from_utf8(output.stdout).expect("text")
}
