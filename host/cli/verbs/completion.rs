//! `silo completion`

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use crate::{command, failure::Result, output};

/// Print a shell's completions, for example `silo completion bash`
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// Which shell
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command::definition(), "silo", &mut text);
        output::print(&String::from_utf8_lossy(&text))?;
        Ok(ExitCode::SUCCESS)
    }
}
