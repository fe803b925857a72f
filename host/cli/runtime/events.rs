//! `events`.

use std::{process::ExitCode, thread, time::Duration};

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use silo_linux::runtime::{Error, Runtime};

use crate::{
    failure::{Failure, Result},
    output, values,
};

/// Tell what a container uses, again and again, and when the kernel kills for want of memory
#[derive(Debug, Args)]
pub(super) struct Events {
    /// How often
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = values::duration)]
    interval: Duration,
    /// Tell once what it uses, and end
    #[arg(long)]
    stats: bool,
    /// The container's name
    #[arg(value_name = "ID")]
    id: String,
}

/// How soon a kill is told.
const GLANCE: Duration = Duration::from_millis(200);

impl Events {
    pub(super) fn run(self, runtime: &Runtime) -> Result<ExitCode> {
        self.tell("stats", Some(runtime.stats(&self.id)?))?;
        if self.stats {
            return Ok(ExitCode::SUCCESS);
        }
        let mut kills = runtime.oom_kills(&self.id)?;
        let mut waited = Duration::ZERO;
        loop {
            thread::sleep(GLANCE);
            waited += GLANCE;
            let stats = match runtime.stats(&self.id) {
                // It has ended, and with it this.
                Err(Error::NotRunning | Error::Missing(_)) => return Ok(ExitCode::SUCCESS),
                stats => stats?,
            };
            let now = runtime.oom_kills(&self.id)?;
            if now > kills {
                self.tell("oom", None)?;
                kills = now;
            }
            if waited >= self.interval {
                self.tell("stats", Some(stats))?;
                waited = Duration::ZERO;
            }
        }
    }

    fn tell(&self, kind: &str, data: Option<Value>) -> Result<()> {
        let event = Event { kind, id: &self.id, data };
        let text = serde_json::to_string(&event)
            .map_err(|source| Failure::caused("cannot write JSON", source))?;
        output::print(&format!("{text}\n"))
    }
}

/// A line as runc has it, in that order.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}
