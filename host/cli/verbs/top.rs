//! `silo top`

mod host;
mod ps;

use std::process::ExitCode;

use clap::Args;

use crate::{context::Context, failure::Result, format, output};

/// Tell the processes of a running container, as the host has them
#[derive(Debug, Args)]
#[command(override_usage = "silo top [OPTIONS] CONTAINER [PS OPTIONS]")]
pub(crate) struct Top {
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Options for the host's ps, such as `-o pid,args`; else all that ps -f tells
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PS OPTIONS")]
    options: Vec<String>,
}

impl Top {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let pids = context.engine()?.processes(&self.container)?;
        let rows = if self.options.is_empty() {
            host::rows(&pids)
        } else {
            ps::rows(&self.options, &pids)?
        };
        output::print(&format::table(rows))?;
        Ok(ExitCode::SUCCESS)
    }
}
