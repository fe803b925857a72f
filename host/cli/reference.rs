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
mod defaults {
    use std::fmt::Write as _;

    use silo_isolation::Isolation;
    use silo_linux::{Defaults, defaults};

    use super::keep_true;

    fn code<'a>(names: impl IntoIterator<Item = &'a &'a str>) -> String {
        let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    }

    fn calls(defaults: &Defaults) -> Vec<&'static str> {
        defaults.syscalls.iter().map(|call| call.name).collect()
    }

    fn overview(all: &[Defaults]) -> String {
        let mut table = String::from("| |");
        let mut row = |title: &str, cell: &dyn Fn(&Defaults) -> String| {
            let cells: Vec<_> = all.iter().map(cell).collect();
            write!(table, "\n| {title} | {} |", cells.join(" | ")).unwrap();
        };
        let yes_or_no = |yes| if yes { "yes" } else { "no" }.to_owned();
        row("users of its own, where root runs it", &|d| yes_or_no(d.user_namespace));
        row("capabilities of user 0", &|d| d.capabilities.len().to_string());
        row("system calls permitted", &|d| d.syscalls.len().to_string());
        row("of those, with some arguments only", &|d| {
            d.syscalls.iter().filter(|call| call.only.is_some()).count().to_string()
        });
        row("system calls of 32-bit programs", &|d| match d.compatible_syscalls {
            0 => "none: they are ended".to_owned(),
            count => count.to_string(),
        });
        row("programs gain no privileges (`no_new_privs`)", &|d| yes_or_no(d.no_new_privs));
        row("root file system", &|d| {
            if d.read_only_root { "read-only" } else { "writable" }.to_owned()
        });
        row("paths that read as empty", &|d| d.masked_paths.len().to_string());
        row("paths that are read-only", &|d| d.readonly_paths.len().to_string());
        row("mounts", &|d| d.mounts.iter().map(|mount| mount.target).collect::<Vec<_>>().join(" "));
        let names: Vec<_> = Isolation::ALL.iter().map(|isolation| isolation.name()).collect();
        let rule = "---|".repeat(names.len() + 1);
        table.replacen("| |", &format!("| | {} |\n|{rule}", names.join(" | ")), 1)
    }

    fn mounts(defaults: &Defaults) -> String {
        let rows = defaults
            .mounts
            .iter()
            .map(|mount| format!("\n| `{}` | {} | {} |", mount.target, mount.kind, mount.options));
        format!("| where | type | options |\n|---|---|---|{}", rows.collect::<String>())
    }

    fn conditions(defaults: &Defaults) -> String {
        let rows = defaults
            .syscalls
            .iter()
            .filter_map(|call| Some(format!("\n| `{}` | {} |", call.name, call.only?)));
        format!("| call | permitted |\n|---|---|{}", rows.collect::<String>())
    }

    fn beyond<'a>(more: &'a [&'static str], fewer: &[&'static str]) -> Vec<&'a &'static str> {
        more.iter().filter(|name| !fewer.contains(name)).collect()
    }

    #[test]
    fn what_holds_in_each_isolation_is_documented_as_it_is() {
        let all = Isolation::ALL.map(defaults);
        let [docker, default, strict] = &all;
        let mut text = String::from(
            "# What holds in each isolation\n\n`--isolation` chooses; this is what holds for a Linux container on \
             x86-64 unless its other options say\notherwise. Made from the tables that are enforced. What a wasm guest \
             gets is in [SECURITY.md](../SECURITY.md).\n\n",
        );
        text.push_str(&overview(&all));
        text.push('\n');
        let mut part = |title: &str, body: &str| writeln!(text, "\n## {title}\n\n{body}").unwrap();
        part(
            "Capabilities",
            &format!(
                "`default`: {}.\n\n`docker`, besides: {}.\n\n`strict`: none.",
                code(&default.capabilities),
                code(beyond(&docker.capabilities, &default.capabilities)),
            ),
        );
        part(
            "Masked paths",
            &format!(
                "They read as empty.\n\n`default`: {}.\n\n`docker`: {}.",
                code(&default.masked_paths),
                code(&docker.masked_paths)
            ),
        );
        part(
            "Read-only paths",
            &format!(
                "`default`: {}.\n\n`docker`: {}.",
                code(&default.readonly_paths),
                code(&docker.readonly_paths)
            ),
        );
        part(
            "Devices",
            &format!(
                "In `/dev`: {}, the host's own, of which no mode or owner can be changed. A node that a \
                 guest makes opens nothing.\n\nWhere a container has the host's users, or is given a device \
                 in part (`--device HOST:r`) or by `--device-cgroup-rule`,\nits cgroup permits what follows, \
                 then what it is given: {}. With users of\nits own there is nothing else that could be opened, \
                 and no such cgroup; with `--privileged` none either.",
                code(&default.devices),
                code(&default.device_rules.iter().map(String::as_str).collect::<Vec<_>>()),
            ),
        );
        part(
            "Mounts",
            &format!(
                "`docker`:\n\n{}\n\n`default`, of whose sysfs only these parts are shown, where there \
                 are such: {}.\n\n{}\n\n`strict`:\n\n{}",
                mounts(docker),
                code(&default.sysfs_parts),
                mounts(default),
                mounts(strict)
            ),
        );
        part("New files", &format!("The umask is {:04o}.", default.umask));
        part(
            "Limits of a process",
            &format!(
                "{} (setrlimit(2); soft and hard), or less where silo has less itself; others are silo's \
                 own.\n`--ulimit` sets them.",
                code(&default.rlimits.iter().map(String::as_str).collect::<Vec<_>>())
            ),
        );
        part(
            "System calls",
            &format!(
                "Others fail with EPERM, those newer than the table with ENOSYS.\n\n`strict`: \
                 {}.\n\n`default`, besides: {}.\n\n`docker`, besides: {}.",
                code(&calls(strict)),
                code(beyond(&calls(default), &calls(strict))),
                code(beyond(&calls(docker), &calls(default))),
            ),
        );
        part(
            "System calls with some arguments only",
            &format!(
                "`strict`:\n\n{}\n\n`default`:\n\n{}\n\n`docker`:\n\n{}",
                conditions(strict),
                conditions(default),
                conditions(docker)
            ),
        );
        keep_true("defaults.md", &text);
    }
}
