//! Verbs that tell something, and `spec`, which writes a configuration to begin with.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::{Args, ValueEnum};
use silo_linux::runtime::{Runtime, State as Shown, default_spec, features};

use crate::{
    failure::{Failure, Result},
    output,
};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Tell where a container stands
#[derive(Debug, Args)]
pub(super) struct State {
    /// The container's name
    #[arg(value_name = "ID")]
    id: String,
}

impl State {
    pub(super) fn run(self, runtime: &Runtime) -> Result<ExitCode> {
        print(&runtime.state(&self.id)?)
    }
}

/// List the containers of this root
#[derive(Debug, Args)]
pub(super) struct List {
    /// How
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Only names
    #[arg(short, long)]
    quiet: bool,
}

impl List {
    /// Of the directory `explicit`, where one was named: that must be there.
    pub(super) fn run(self, runtime: &Runtime, explicit: Option<&Path>) -> Result<ExitCode> {
        if let Some(root) = explicit {
            let failed = |source| {
                Failure::caused(format!("cannot read {}", root.display()), source).with_code(1)
            };
            std::fs::metadata(root).map_err(failed)?;
        }
        let states = runtime.list()?;
        if self.quiet {
            let names: Vec<_> = states.into_iter().map(|state| state.id).collect();
            output::print(&lines(&names))?;
            return Ok(ExitCode::SUCCESS);
        }
        match self.format {
            Format::Json => print_line(&states),
            Format::Table => {
                output::print(&table(&states))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn table(states: &[Shown]) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let row = |state: &Shown| {
        [
            state.id.clone(),
            state.pid.to_string(),
            state.status.to_owned(),
            state.bundle.display().to_string(),
            state.created.clone(),
            state.owner.clone(),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(states.iter().map(row)).collect();
    let widths: Vec<_> =
        (0..6).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    };
    lines(&rows.iter().map(line).collect::<Vec<_>>())
}

/// List the processes of a container
#[derive(Debug, Args)]
pub(super) struct Ps {
    /// How
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The container's name
    #[arg(value_name = "ID")]
    id: String,
    /// Options of ps(1)
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

impl Ps {
    pub(super) fn run(self, runtime: &Runtime) -> Result<ExitCode> {
        let processes = runtime.processes(&self.id)?;
        match self.format {
            Format::Json => print_line(&processes),
            Format::Table => {
                let default = vec!["-ef".to_owned()];
                let options = if self.options.is_empty() { default } else { self.options };
                output::print(&selected(&options, &processes)?)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// What ps(1) tells of `processes`: its head, and the lines whose column PID has one of them.
fn selected(options: &[String], processes: &[i32]) -> Result<String> {
    let failed = |what: String| Failure::new(what).with_code(1);
    let told = Command::new("ps").args(options).output();
    let told =
        told.map_err(|source| Failure::caused("cannot run the host's ps", source).with_code(1))?;
    if !told.status.success() {
        return Err(failed(format!("ps: {}", String::from_utf8_lossy(&told.stderr).trim())));
    }
    let text = String::from_utf8_lossy(&told.stdout);
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let column = head.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| failed("ps shows no column PID".to_owned()))?;
    let is_ours = |line: &&str| {
        let number = line.split_whitespace().nth(column).and_then(|text| text.parse().ok());
        number.is_some_and(|number| processes.contains(&number))
    };
    let selected: Vec<_> = std::iter::once(head).chain(lines.filter(is_ours)).collect();
    Ok(self::lines(&selected))
}

/// Each with its end.
fn lines<T: AsRef<str>>(lines: &[T]) -> String {
    lines.iter().flat_map(|line| [line.as_ref(), "\n"]).collect()
}

/// Write a config.json to begin with
#[derive(Debug, Args)]
pub(super) struct Spec {
    /// Where
    #[arg(short, long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// For an ordinary user
    #[arg(long)]
    rootless: bool,
}

impl Spec {
    pub(super) fn run(self) -> Result<ExitCode> {
        let path = self.bundle.unwrap_or_default().join("config.json");
        let own = || (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let text = serde_json::to_string_pretty(&default_spec(self.rootless.then(own)))
            .map_err(|source| Failure::caused("cannot write the configuration", source))?;
        let failed = |source: std::io::Error| {
            Failure::caused(format!("cannot make {}", path.display()), source).with_code(1)
        };
        let mut file =
            OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
        writeln!(file, "{text}").map_err(failed)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Tell what this runtime has
#[derive(Debug, Args)]
pub(super) struct Features {}

impl Features {
    pub(super) fn run() -> Result<ExitCode> {
        print(&features())
    }
}

fn print_line(value: &impl serde::Serialize) -> Result<ExitCode> {
    let text = serde_json::to_string(value)
        .map_err(|source| Failure::caused("cannot write JSON", source))?;
    output::print(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn print(value: &impl serde::Serialize) -> Result<ExitCode> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|source| Failure::caused("cannot write JSON", source))?;
    output::print(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}
