//! `silo version`

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::{context::Context, failure::Result, format, output};

/// Print the version of silo and of what it runs on
#[derive(Debug, Args)]
pub(crate) struct Version {
    /// A template such as '{{.Client.Version}}', or json
    #[arg(short, long)]
    format: Option<String>,
}

impl Version {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let backends: Vec<&str> = context.backends().iter().map(|backend| backend.name()).collect();
        let client = json!({
            "Version": env!("CARGO_PKG_VERSION"),
            "Os": std::env::consts::OS,
            "Arch": silo_layers::Platform::linux().architecture,
            "Backends": backends,
        });
        match &self.format {
            Some(_) => {
                let item = json!({ "Client": client });
                output::print(&format::inspect(self.format.as_deref(), &[item])?)?;
            }
            None => output::line(&format!(
                "silo {} on {}/{}, with the backends {}",
                env!("CARGO_PKG_VERSION"),
                std::env::consts::OS,
                silo_layers::Platform::linux().architecture,
                backends.join(" and ")
            ))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
