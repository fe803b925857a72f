//! `silo save`

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use silo_layers::SaveFormat;

use crate::{context::Context, failure::Result, sink};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// What docker, podman and skopeo load; an OCI archive at once
    DockerArchive,
    /// An OCI archive alone
    OciArchive,
}

/// Write images as an archive, which load reads here and on other machines
#[derive(Debug, Args)]
pub(crate) struct Save {
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::DockerArchive)]
    format: Format,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Save {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let store = context.store()?;
        let names: Vec<&str> = self.images.iter().map(String::as_str).collect();
        let format = match self.format {
            Format::DockerArchive => SaveFormat::Docker,
            Format::OciArchive => SaveFormat::Oci,
        };
        sink::write(self.output.as_deref(), |output| Ok(store.save(&names, format, output)?))?;
        Ok(ExitCode::SUCCESS)
    }
}
