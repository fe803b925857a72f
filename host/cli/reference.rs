//! The pages in `docs/` that are made from the code. A test compares them with what the code says,
//! and with `SILO_UPDATE_DOCS=1` writes them.

use std::{fmt::Write as _, path::Path};

use crate::command;

fn keep_true(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    if std::env::var_os("SILO_UPDATE_DOCS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    let how = "update it: SILO_UPDATE_DOCS=1 cargo test --bin silo reference";
    assert!(written == text, "docs/{page} differs from the code; {how}");
}

/// One verb's section: what it does, how it is called, its arguments and options.
fn section(path: &str, command: &clap::Command, text: &mut String) {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string);
    writeln!(text, "\n## {path}\n\n{}\n", about.unwrap_or_default().trim()).unwrap();
    let usage = command.clone().render_usage().to_string();
    writeln!(text, "    {}\n", usage.trim_start_matches("Usage: ")).unwrap();
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        if ["help", "version", "root"].contains(&argument.get_id().as_str()) {
            continue;
        }
        let name = argument.to_string();
        let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let defaults = argument.get_default_values().iter().map(|value| value.to_string_lossy());
        let defaults: Vec<_> = defaults.collect();
        let takes_value = argument.get_action().takes_values() && !defaults.is_empty();
        let default =
            if takes_value { format!(" (default {})", defaults.join(" ")) } else { String::new() };
        writeln!(text, "- `{short}{name}`: {help}{default}").unwrap();
    }
}

fn sections(path: &str, command: &clap::Command, text: &mut String) {
    let verbs: Vec<_> = command.get_subcommands().filter(|verb| !verb.is_hide_set()).collect();
    if verbs.is_empty() {
        section(path, command, text);
    }
    for verb in verbs {
        let path = format!("{path} {}", verb.get_name());
        match verb.get_name() {
            "container" | "image" => longer_names(&path, verb, text),
            _ => sections(&path, verb, text),
        }
    }
}

/// `container` and `image` only repeat what stands on its own.
fn longer_names(path: &str, command: &clap::Command, text: &mut String) {
    let names: Vec<_> = command
        .get_subcommands()
        .flat_map(|verb| std::iter::once(verb.get_name()).chain(verb.get_visible_aliases()))
        .map(|name| format!("`{name}`"))
        .collect();
    writeln!(
        text,
        "\n## {path}\n\nThe verbs on {path}s by Docker's longer names: {}.",
        names.join(", ")
    )
    .unwrap();
}

#[test]
fn the_command_line_is_documented_as_it_is() {
    let mut command = command::definition().term_width(100);
    command.build();
    let mut text = "# The command line\n\nMade from the program's own definitions; `silo VERB --help` says the \
                    same. `--root DIR` (or\n`SILO_ROOT`) goes with every verb.\n"
        .to_owned();
    sections("silo", &command, &mut text);
    keep_true("cli.md", &text);
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn the_defaults_are_documented_as_they_are() {
    let defaults = silo_linux::defaults();
    let code = |names: &[&str]| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let mut text = String::from(
        "# Defaults\n\nWhat holds for a Linux container unless its options say otherwise, on x86-64. Made from the \
         tables\nthat are enforced. What a wasm guest gets is in [SECURITY.md](../SECURITY.md).\n",
    );
    let mut part = |title: &str, body: &str| writeln!(text, "\n## {title}\n\n{body}").unwrap();
    part(
        "Capabilities",
        &format!("{}: {}.", defaults.capabilities.len(), code(&defaults.capabilities)),
    );
    part(
        "Privileges",
        &format!(
            "`no_new_privs` is {}; the umask is {:04o}.",
            if defaults.no_new_privs { "set" } else { "not set" },
            defaults.umask
        ),
    );
    part("Masked paths", &format!("They read as empty: {}.", code(&defaults.masked_paths)));
    part("Read-only paths", &format!("{}.", code(&defaults.readonly_paths)));
    part("Devices", &format!("In `/dev`: {}.", code(&defaults.devices)));
    let mounts: Vec<_> = defaults
        .mounts
        .iter()
        .map(|mount| format!("| `{}` | {} | {} |", mount.target, mount.kind, mount.options))
        .collect();
    part("Mounts", &format!("| where | type | options |\n|---|---|---|\n{}", mounts.join("\n")));
    let (some, all): (Vec<_>, Vec<_>) =
        defaults.syscalls.iter().partition(|syscall| syscall.only.is_some());
    let names: Vec<_> = all.iter().map(|syscall| syscall.name).collect();
    let filtered: Vec<_> = some
        .iter()
        .map(|syscall| format!("| `{}` | {} |", syscall.name, syscall.only.unwrap_or_default()))
        .collect();
    part(
        "System calls",
        &format!(
            "{} are permitted; others fail with EPERM, those newer than the table with ENOSYS, and those of \
             other ABIs\n(i386, x32) end the program.\n\n{}.\n\nThese only with some arguments:\n\n| call | \
             when |\n|---|---|\n{}",
            defaults.syscalls.len(),
            code(&names),
            filtered.join("\n")
        ),
    );
    keep_true("defaults.md", &text);
}
