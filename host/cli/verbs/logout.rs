//! `silo logout`

use std::process::ExitCode;

use clap::Args;

use super::login::host;
use crate::{context::Context, failure::Result, output, registries};

/// Forget the credentials for a registry
#[derive(Debug, Args)]
pub(crate) struct Logout {
    #[arg(help = "The registry: HOST[:PORT]")]
    #[arg(default_value = "docker.io")]
    server: String,
}

impl Logout {
    pub(crate) fn run(self, _: &Context) -> Result<ExitCode> {
        let server = host(&self.server);
        let known = registries::client(true).logout(server)?;
        output::line(&if known {
            format!("Removing login credentials for {server}")
        } else {
            format!("Not logged in to {server}")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
