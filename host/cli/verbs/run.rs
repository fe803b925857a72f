//! `silo run`

use std::process::ExitCode;

use clap::Args;
use silo_engine::{Attach, Session};

use crate::{
    container::ContainerArgs,
    context::Context,
    failure::Result,
    foreground::{Foreground, ForegroundArgs},
    output,
};

/// Run a program in a new container
///
/// Options end at the image: what follows belongs to the program. The exit code is the program's;
/// 125 if silo failed, 126 if the program cannot be run, 127 if there is none, 128 and more if
/// a signal ended it (134 for a trap in WebAssembly).
#[derive(Debug, Args)]
#[command(override_usage = "silo run [OPTIONS] IMAGE [COMMAND] [ARG...]", disable_help_flag = true)]
pub(crate) struct Run {
    /// Leave the container running in the background and print its id
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    foreground: ForegroundArgs,
    #[command(flatten)]
    pub(crate) container: ContainerArgs,
}

impl Run {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let container = &self.container;
        container.check_cidfile()?;
        let options = container.options()?;
        let engine = context.engine()?;
        container.provide(&engine)?;
        let start = |attach: Attach| -> Result<Session> {
            let session = engine.run(&options, attach)?;
            container.note_id(session.id())?;
            Ok(session)
        };
        if self.detach {
            let session = start(Attach::NONE)?;
            output::line(session.id())?;
            return Ok(ExitCode::SUCCESS);
        }
        let foreground = Foreground {
            interactive: container.interactive,
            terminal: container.tty,
            ends_with_output: container.rm,
            forwards: self.foreground.sig_proxy,
            without_terminal: "leave out -t",
            keys: self.foreground.detach.keys,
            may_leave: true,
        };
        foreground.run(start)
    }
}
