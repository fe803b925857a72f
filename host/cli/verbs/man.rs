//! `silo man`

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{
    command,
    failure::{Failure, Result},
};

/// Write the manual pages, one for each verb, into a directory
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Where; made if it does not exist
    directory: PathBuf,
}

impl Man {
    pub(crate) fn run(self) -> Result<ExitCode> {
        fs::create_dir_all(&self.directory)
            .and_then(|()| clap_mangen::generate_to(command::definition(), &self.directory))
            .map_err(|source| {
                let path = self.directory.display();
                Failure::caused(format!("cannot write manual pages into {path}"), source)
            })?;
        Ok(ExitCode::SUCCESS)
    }
}
