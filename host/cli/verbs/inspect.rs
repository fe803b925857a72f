//! `silo inspect`

mod container;
mod image;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::{
    context::Context,
    failure::{Failure, Result},
    format, output,
};

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Container,
    Image,
}

/// Tell all about containers or images, as JSON
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Look only for these; else containers first
    #[arg(long = "type", value_enum)]
    kind: Option<Kind>,
    #[command(flatten)]
    what: What,
}

/// Tell all about containers, as JSON
#[derive(Debug, Args)]
pub(crate) struct InspectContainer {
    #[command(flatten)]
    what: What,
}

/// Tell all about images, as JSON
#[derive(Debug, Args)]
pub(crate) struct InspectImage {
    #[command(flatten)]
    what: What,
}

#[derive(Debug, Args)]
struct What {
    /// A template such as '{{.State.Status}}' or '{{json .Config}}', or json
    #[arg(short, long)]
    format: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl From<InspectContainer> for Inspect {
    fn from(verb: InspectContainer) -> Self {
        Self { kind: Some(Kind::Container), what: verb.what }
    }
}

impl From<InspectImage> for Inspect {
    fn from(verb: InspectImage) -> Self {
        Self { kind: Some(Kind::Image), what: verb.what }
    }
}

impl Inspect {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let (mut found, mut code) = (Vec::new(), ExitCode::SUCCESS);
        for name in &self.what.names {
            match self.find(context, name) {
                Ok(value) => found.push(value),
                Err(failure) => {
                    failure.report();
                    code = ExitCode::FAILURE;
                }
            }
        }
        // Docker prints the empty list, too, when nothing was found.
        output::print(&format::inspect(self.what.format.as_deref(), &found)?)?;
        Ok(code)
    }

    fn find(&self, context: &Context, name: &str) -> Result<Value> {
        if self.kind != Some(Kind::Image) {
            let engine = context.engine()?;
            match engine.inspect(name) {
                Ok(summary) => {
                    let path = context.root().join("containers").join(&summary.container.id);
                    return Ok(container::describe(&summary, &path));
                }
                Err(silo_engine::Error::NotFound(_)) if self.kind.is_none() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let store = context.store()?;
        match store.resolve(name, &[]) {
            Ok(found) => {
                let config = store.config_document(&found)?;
                Ok(image::describe(&found, &config, &store.images()?))
            }
            Err(silo_layers::Error::NoSuchImage(_) | silo_layers::Error::Reference(_))
                if self.kind.is_none() =>
            {
                Err(Failure::new(format!("no such container or image: {name}"))
                    .with_hint("`silo ps -a` lists containers, `silo images` lists images"))
            }
            Err(error) => Err(error.into()),
        }
    }
}
