//! Verbs that change a container's state.

use std::process::ExitCode;

use clap::Args;
use silo_isolation::Signal;
use silo_linux::runtime::{Error, Runtime};

use super::create;
use crate::failure::{Failure, Result};

/// Let the program of a created container run
#[derive(Debug, Args)]
pub(super) struct Start {
    /// The container's name
    #[arg(value_name = "ID")]
    id: String,
}

impl Start {
    pub(super) fn run(self, runtime: &Runtime) -> Result<ExitCode> {
        if let Some(notifications) = create::start(runtime, &self.id)? {
            notifications.forward()?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Send a signal to a container's first process
#[derive(Debug, Args)]
pub(super) struct Kill {
    /// Send it to all of the container's processes
    #[arg(short, long)]
    all: bool,
    /// The container's name
    #[arg(value_name = "ID")]
    id: String,
    /// Its name or number
    #[arg(value_name = "SIGNAL", default_value = "SIGTERM")]
    signal: String,
}

impl Kill {
    pub(super) fn run(self, runtime: &Runtime) -> Result<ExitCode> {
        let number = match self.signal.as_str() {
            // Only whether there is a process to be sent one.
            "0" => 0,
            text => {
                let signal: Signal = text.parse().map_err(|source| {
                    Failure::caused(format!("unknown signal `{text}`"), source).with_code(1)
                })?;
                signal.number()
            }
        };
        match runtime.kill(&self.id, number, self.all) {
            // All of none have been sent it.
            Err(Error::NotRunning) if self.all => {}
            sent => sent?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Delete a container that has ended
#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Kill it first where it has not; that there is none is no failure
    #[arg(short, long)]
    force: bool,
    /// The container's name
    #[arg(value_name = "ID")]
    id: String,
}

impl Delete {
    pub(super) fn run(self, runtime: &Runtime) -> Result<ExitCode> {
        runtime.delete(&self.id, self.force)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Let all processes of a container stand still
#[derive(Debug, Args)]
pub(super) struct Pause {
    /// The container's name
    #[arg(value_name = "ID")]
    id: String,
}

impl Pause {
    pub(super) fn run(self, runtime: &Runtime) -> Result<ExitCode> {
        runtime.pause(&self.id)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Let the processes of a paused container go on
#[derive(Debug, Args)]
pub(super) struct Resume {
    /// The container's name
    #[arg(value_name = "ID")]
    id: String,
}

impl Resume {
    pub(super) fn run(self, runtime: &Runtime) -> Result<ExitCode> {
        runtime.resume(&self.id)?;
        Ok(ExitCode::SUCCESS)
    }
}
