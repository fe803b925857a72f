//! `silo import`

use std::{
    fs::File,
    io::{Read, stdin},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde_json::json;
use silo_layers::{ImportOptions, Platform, Reference};

use crate::{
    changes,
    context::Context,
    failure::{Failure, Result},
    output,
    progress::Teller,
    values,
};

/// Make an image of a root file system's archive, and print its id
#[derive(Debug, Args)]
pub(crate) struct Import {
    #[arg(short, long, value_name = "LINE", help = changes::HELP)]
    change: Vec<String>,
    /// Note this in the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// What the image is made for; by default Linux on this machine's architecture
    #[arg(long, value_name = "OS/ARCH", value_parser = values::platform)]
    platform: Option<Platform>,
    /// A tar archive, perhaps compressed by gzip or zstd; - for stdin
    file: PathBuf,
    /// The image's name
    name: Option<Reference>,
}

impl Import {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let options = ImportOptions {
            name: self.name,
            platform: self.platform,
            config: changes::apply(json!({}), &self.change).map_err(Failure::new)?,
            message: self.message,
            created: None,
        };
        let input: Box<dyn Read> = if self.file == Path::new("-") {
            Box::new(stdin().lock())
        } else {
            Box::new(open(&self.file)?)
        };
        let mut teller = Teller::new(false);
        let store = context.store()?;
        let digest = store.import(input, &options, &mut |progress| teller.tell(progress))?;
        output::line(&store.image(&digest)?.id.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path)
        .map_err(|source| Failure::caused(format!("cannot open {}", path.display()), source))
}
