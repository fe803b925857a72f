//! `silo runtime`, and the same program as `silo-runtime`: the command line of an OCI runtime, with
//! runc's verbs, options and exit codes, as engines call it.

mod create;
mod events;
mod exec;
mod foreground;
mod life;
mod log;
mod shown;
mod update;
mod webassembly;

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use log::Log;
use silo_layers::tree::is_privileged;
use silo_linux::runtime::{Error, Manager, Runtime};

use crate::failure::{Failure, Result};

/// Be an OCI runtime: make containers from bundles, for podman, docker, containerd and others
#[derive(Debug, Args)]
pub(crate) struct RuntimeArgs {
    /// Keep the records of containers in DIR, which should be on a tmpfs
    #[arg(id = "records", long = "root", value_name = "DIR")]
    root: Option<PathBuf>,
    /// Write errors to FILE, too
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How errors are written there
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Accepted: errors are told whole in any case
    #[arg(long)]
    debug: bool,
    /// Have systemd make the cgroups
    #[arg(long)]
    systemd_cgroup: bool,
    /// Accepted: what an ordinary user may not do is found out
    #[arg(long, value_name = "BOOL", default_value = "auto", hide_possible_values = true)]
    rootless: Rootless,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rootless {
    True,
    False,
    Auto,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Create),
    Start(life::Start),
    Run(create::Run),
    State(shown::State),
    Kill(life::Kill),
    Delete(life::Delete),
    Exec(Box<exec::Exec>),
    List(shown::List),
    Ps(shown::Ps),
    Pause(life::Pause),
    Resume(life::Resume),
    Update(Box<update::Update>),
    Events(events::Events),
    Spec(shown::Spec),
    Features(shown::Features),
}

/// Makes containers from bundles, as the OCI runtime specification has it.
#[derive(Debug, Parser)]
#[command(name = "silo-runtime", about, max_term_width = 100, version = VERSION)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
#[command(disable_version_flag = true)]
struct CommandLine {
    /// Print the version
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: (),
    #[command(flatten)]
    runtime: RuntimeArgs,
}

/// The second line is what engines look for.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\nspec: 1.2.1");

/// The name that makes this program a runtime.
const NAME: &str = "silo-runtime";

/// Does what this process's command line says, where it is a runtime's.
pub(crate) fn from_args() -> Option<ExitCode> {
    let mut args = env::args_os();
    let program = args.next()?;
    let is_runtime = Path::new(&program).file_name().is_some_and(|name| name == NAME);
    let mut args: Vec<OsString> = args.collect();
    if !is_runtime {
        (args.first()? == "runtime").then_some(())?;
        args.remove(0);
    }
    args.insert(0, NAME.into());
    Some(match CommandLine::try_parse_from(args) {
        Ok(line) => line.runtime.run(),
        Err(error) => crate::misuse::report(&error),
    })
}

impl RuntimeArgs {
    /// Does what it says; a failure is told and logged.
    pub(crate) fn run(self) -> ExitCode {
        let log = self.log.as_ref().map(|file| Log::open(file, self.log_format)).transpose();
        let mut log = match log {
            Ok(log) => log,
            Err(failure) => return failure.report_as_error(),
        };
        self.dispatch().unwrap_or_else(|failure| {
            if let Some(log) = &mut log {
                log.add(&failure);
            }
            failure.report_as_error()
        })
    }

    fn dispatch(self) -> Result<ExitCode> {
        let explicit = self.root.clone();
        let root = self.root.map_or_else(default_root, Ok)?;
        let runtime = Runtime::new(root, self.systemd_cgroup, manager());
        if self.verb.enters_containers() {
            silo_linux::runtime::seal(env::args_os().collect(), env::vars_os().collect())?;
        }
        match self.verb {
            Verb::Create(verb) => verb.run(&runtime),
            Verb::Start(verb) => verb.run(&runtime),
            Verb::Run(verb) => verb.run(&runtime),
            Verb::State(verb) => verb.run(&runtime),
            Verb::Kill(verb) => verb.run(&runtime),
            Verb::Delete(verb) => verb.run(&runtime),
            Verb::Exec(verb) => verb.run(&runtime),
            Verb::List(verb) => verb.run(&runtime, explicit.as_deref()),
            Verb::Ps(verb) => verb.run(&runtime),
            Verb::Pause(verb) => verb.run(&runtime),
            Verb::Resume(verb) => verb.run(&runtime),
            Verb::Update(verb) => verb.run(&runtime),
            Verb::Events(verb) => verb.run(&runtime),
            Verb::Spec(verb) => verb.run(),
            Verb::Features(_) => shown::Features::run(),
        }
    }
}

impl Verb {
    /// Whether a copy of this process becomes a container's.
    const fn enters_containers(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Run(_) | Self::Exec(_))
    }
}

/// A variable of the environment that says something.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The systemd that cgroups of this process's user are made by: a user's own, unless that is root of the
/// machine.
fn manager() -> Manager {
    let user = !is_privileged();
    let bus = if user {
        let own = || Some(format!("unix:path={}/bus", variable("XDG_RUNTIME_DIR")?));
        variable("DBUS_SESSION_BUS_ADDRESS").or_else(own).unwrap_or_default()
    } else {
        let usual =
            "unix:path=/run/dbus/system_bus_socket;unix:path=/var/run/dbus/system_bus_socket";
        variable("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|| usual.to_owned())
    };
    Manager { bus, user }
}

/// Where records are that are of no use after the machine's next start. Root of a user namespace is not
/// the machine's, as under podman.
fn default_root() -> Result<PathBuf> {
    let directory = variable("XDG_RUNTIME_DIR").filter(|_| !is_privileged());
    if directory.is_none() && rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/run/silo/runtime"));
    }
    directory.map(|directory| Path::new(&directory).join("silo/runtime")).ok_or_else(|| {
        failed(Failure::new("cannot tell where to keep records: XDG_RUNTIME_DIR is not set"))
            .with_hint("name a directory with --root DIR")
    })
}

/// As runc, a runtime that fails exits with 1.
fn failed(failure: Failure) -> Failure {
    failure.with_code(1)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let hint = error.hint().map(str::to_owned);
        let failure = failed(Self::of(error));
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}
