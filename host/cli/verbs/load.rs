//! `silo load`

use std::{io::stdin, path::PathBuf, process::ExitCode};

use clap::Args;
use silo_layers::Source;

use crate::{context::Context, failure::Result, output, progress::Teller};

/// Add images from an archive or directory, as `docker save`, `podman save` and skopeo write them
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// A docker-archive, an OCI archive or an OCI layout directory; else stdin
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Don't tell progress
    #[arg(short, long)]
    quiet: bool,
}

impl Load {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let store = context.store()?;
        let mut teller = Teller::new(self.quiet);
        let mut stdin = stdin().lock();
        let source = match self.input.as_deref().filter(|path| path.as_os_str() != "-") {
            Some(path) => Source::Path(path),
            None => Source::Reader(&mut stdin),
        };
        for image in store.load(source, &mut |progress| teller.tell(progress))? {
            output::line(&match &image.name {
                Some(name) => format!("Loaded image: {}", name.familiar()),
                None => format!("Loaded image ID: {}", image.digest),
            })?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
