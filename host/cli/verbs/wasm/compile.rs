//! `silo wasm compile`

use std::process::ExitCode;

use clap::Args;
use silo_layers::Platform;

use crate::{context::Context, failure::Result, output, values};

/// Compile the programs of images, so that their first run need not
///
/// The code is kept below `cache/wasm` in the store, for this version of silo and this user alone. What
/// has not been used for longest goes when it is more than 2 GiB. Printed are the programs' paths.
#[derive(Debug, Args)]
pub(crate) struct Compile {
    /// Of the images for this platform
    #[arg(long, value_name = "OS/ARCH", value_parser = values::platform)]
    platform: Option<Platform>,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Compile {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let backend = context.wasi();
        output::each(&self.images, |image| {
            let program = super::program(context, image, self.platform.as_ref())?;
            backend.compile(&program.path, &program.bytes)?;
            Ok(program.path)
        })
    }
}
