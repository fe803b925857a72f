//! `silo exec`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use silo_engine::ExecOptions;

use crate::{
    context::Context,
    environment,
    failure::{ENGINE_FAILED, Failure, Result},
    foreground::{DetachArgs, Foreground},
    terminal,
};

/// Run one more program in a running container
///
/// Options end at the container's name. The exit code is the program's; 126 if it cannot be run,
/// 127 if there is none, 1 if silo failed.
#[derive(Debug, Args)]
#[command(override_usage = "silo exec [OPTIONS] CONTAINER COMMAND [ARG...]")]
pub(crate) struct Exec {
    /// Leave the program running in the background
    #[arg(short, long)]
    detach: bool,
    /// Keep stdin open
    #[arg(short, long)]
    interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    tty: bool,
    #[command(flatten)]
    leave: DetachArgs,
    /// Set an environment variable; without a value it is the host's
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from FILE, one NAME=VALUE a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Work in DIR
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Run as this user, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// The container's name or id, then the program and its arguments
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_name = "CONTAINER COMMAND [ARG...]")]
    command: Vec<String>,
}

impl Exec {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        self.execute(context).map_err(|failure| match failure.code() {
            ENGINE_FAILED => failure.with_code(1),
            _ => failure,
        })
    }

    fn execute(self, context: &Context) -> Result<ExitCode> {
        let Some((name, args)) = self.command.split_first() else {
            return Err(Failure::new("the container's name is missing"));
        };
        let options = ExecOptions {
            args: args.to_vec(),
            env: environment::collect(&self.env_file, &self.env)?,
            workdir: self.workdir,
            user: self.user,
            interactive: self.interactive && !self.detach,
            terminal: self.tty,
            size: self.tty.then(terminal::size).flatten(),
        };
        let engine = context.engine()?;
        if self.detach {
            engine.exec(name, &options)?;
            return Ok(ExitCode::SUCCESS);
        }
        let foreground = Foreground {
            interactive: self.interactive,
            terminal: self.tty,
            ends_with_output: false,
            forwards: true,
            without_terminal: "leave out -t",
            keys: self.leave.keys,
            may_leave: false,
        };
        foreground.run(|_| Ok(engine.exec(name, &options)?))
    }
}
