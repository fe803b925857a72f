//! `silo start`

use std::process::ExitCode;

use clap::Args;
use silo_engine::Attach;

use crate::{
    context::Context,
    failure::{Failure, Result},
    foreground::{Foreground, ForegroundArgs},
    output,
};

/// Start containers that do not run, and print their names
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Show what the program prints, and exit as it does
    #[arg(short, long)]
    attach: bool,
    /// Let it read what is typed
    #[arg(short, long)]
    interactive: bool,
    #[command(flatten)]
    foreground: ForegroundArgs,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Start {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        if !self.attach && !self.interactive {
            return output::each(&self.containers, |name| {
                engine.start(name, Attach::NONE)?;
                Ok(name.to_owned())
            });
        }
        let [name] = self.containers.as_slice() else {
            return Err(Failure::new("only one container can be started with -a or -i"));
        };
        let container = engine.inspect(name)?.container;
        let foreground = Foreground {
            interactive: self.interactive && container.interactive,
            terminal: container.bundle.process.terminal,
            ends_with_output: container.auto_remove,
            forwards: self.foreground.sig_proxy,
            without_terminal: "leave out -i",
            keys: self.foreground.detach.keys,
            may_leave: true,
        };
        foreground.run(|attach| Ok(engine.start(name, attach)?))
    }
}
