//! `silo images`

use std::{process::ExitCode, time::SystemTime};

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use silo_layers::{ImageSummary, Reference};

use crate::{
    context::Context,
    failure::Result,
    format::{self, Column},
    output,
};

/// Docker's columns, and what the images are made for.
const COLUMNS: [Column; 6] = [
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
    ("PLATFORMS", "Platforms"),
];
const NONE: &str = "<none>";

/// List images
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of a command line")]
pub(crate) struct Images {
    /// Accepted for Docker's sake: there are no intermediate images
    #[arg(short, long, hide = true)]
    all: bool,
    /// Ids alone
    #[arg(short, long)]
    quiet: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Also the digests of manifests and indexes
    #[arg(long)]
    digests: bool,
    /// A template such as '{{.Repository}}:{{.Tag}}', `table TEMPLATE`, or json
    #[arg(long)]
    format: Option<String>,
    /// Only those with this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

impl Images {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let wanted = self.name.as_deref().map(str::parse::<Reference>).transpose();
        let wanted = wanted.map_err(silo_layers::Error::from)?;
        let tagged = self.name.as_deref().is_some_and(|name| {
            name.rsplit('/').next().is_some_and(|last| last.contains([':', '@']))
        });
        let fits = |name: Option<&Reference>| match (&wanted, name) {
            (None, _) => true,
            (Some(wanted), Some(name)) if tagged => wanted == name,
            (Some(wanted), Some(name)) => wanted.repository() == name.repository(),
            (Some(_), None) => false,
        };
        let images = context.store()?.images()?;
        let now = SystemTime::now();
        let mut items = Vec::new();
        for image in &images {
            let names = image.names.iter().map(Some);
            let names: Vec<_> = if image.names.is_empty() { vec![None] } else { names.collect() };
            let names = names.into_iter().filter(|name| fits(*name));
            items.extend(names.map(|name| self.item(image, name, now)));
        }
        if self.quiet {
            // An image with several names is one image.
            let mut ids: Vec<String> = items
                .iter()
                .map(|item| format!("{}\n", item["ID"].as_str().unwrap_or_default()))
                .collect();
            ids.dedup();
            output::print(&ids.concat())?;
        } else {
            let mut columns = COLUMNS.to_vec();
            if self.digests {
                columns.insert(2, ("DIGEST", "Digest"));
            }
            output::print(&format::list(self.format.as_deref(), &columns, &items)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The fields that Docker gives a template.
    fn item(&self, image: &ImageSummary, name: Option<&Reference>, now: SystemTime) -> Value {
        let platforms: Vec<String> = image.platforms.iter().map(ToString::to_string).collect();
        let time = image.created.and_then(|at| Timestamp::try_from(at).ok());
        json!({
            "Repository": name.map_or_else(|| NONE.to_owned(), Reference::familiar_repository),
            "Tag": name.and_then(Reference::tag).unwrap_or(NONE),
            "ID": if self.no_trunc { image.id.to_string() } else { image.id.short() },
            "Digest": image.digest.to_string(),
            "CreatedAt": time.map_or_else(|| "N/A".to_owned(), |time| time.to_string()),
            "CreatedSince": image.created.map_or_else(|| "N/A".to_owned(), |at| format::ago(now, at)),
            "Size": format::size(image.size),
            "Platforms": platforms.join(","),
        })
    }
}
