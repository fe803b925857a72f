//! `silo system df`

use std::{process::ExitCode, time::SystemTime};

use clap::Args;
use serde_json::{Value, json};
use silo_engine::{Engine, Summary};
use silo_layers::Reference;

use super::ps;
use crate::{
    context::Context,
    failure::Result,
    format::{self, Column},
    output,
};

/// Docker's columns.
const COLUMNS: [Column; 5] = [
    ("TYPE", "Type"),
    ("TOTAL", "TotalCount"),
    ("ACTIVE", "Active"),
    ("SIZE", "Size"),
    ("RECLAIMABLE", "Reclaimable"),
];

/// Of images, with what others need as well.
const IMAGE_COLUMNS: [Column; 8] = [
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
    ("SHARED SIZE", "SharedSize"),
    ("UNIQUE SIZE", "UniqueSize"),
    ("CONTAINERS", "Containers"),
];
const CONTAINER_COLUMNS: [Column; 7] = [
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("SIZE", "Size"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("NAMES", "Names"),
];
const NONE: &str = "<none>";

/// Tell what images, containers and caches occupy on the disk
#[derive(Debug, Args)]
pub(crate) struct Df {
    /// Each image and each container
    #[arg(short, long, conflicts_with = "format")]
    verbose: bool,
    /// A template such as '{{.Type}} {{.Size}}', `table TEMPLATE`, or json
    #[arg(long)]
    format: Option<String>,
}

impl Df {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        if self.verbose {
            output::print(&verbose(&engine)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let (containers, store) = (engine.usage()?, engine.store().usage()?);
        let used = u64::try_from(engine.images_in_use()?.len()).unwrap_or(u64::MAX);
        let share = |kind, share: silo_layers::Share, active| {
            let count = u64::try_from(share.count).unwrap_or(u64::MAX);
            row(kind, count, active, share.size, share.reclaimable)
        };
        let images = silo_layers::Share {
            count: store.images,
            size: store.blobs.size + store.layers.size,
            reclaimable: store.blobs.reclaimable + store.layers.reclaimable,
        };
        let items = [
            share("Images", images, used),
            row(
                "Containers",
                containers.total,
                containers.running,
                containers.size,
                containers.reclaimable,
            ),
            share("Cache", store.cache, 0),
            share("Build Cache", store.builds, 0),
        ];
        output::print(&format::list(self.format.as_deref(), &COLUMNS, &items)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Every image and container, as Docker's `-v` shows them.
fn verbose(engine: &Engine) -> Result<String> {
    let now = SystemTime::now();
    let containers = engine.list()?.containers;
    let images = image_items(engine, &containers, now)?;
    let container = |summary: &Summary| {
        let container = &summary.container;
        let command = ps::command_line(&container.bundle.process.args);
        json!({
            "ID": summary.short_id(),
            "Image": container.image.name,
            "Command": format!("\"{}\"", format::shortened(&command, ps::COMMAND_WIDTH)),
            "Size": format::size(engine.container_size(summary)),
            "RunningFor": format::ago(now, container.created.into()),
            "Status": ps::status(summary, now),
            "Names": container.name,
        })
    };
    let containers: Vec<Value> = containers.iter().map(container).collect();
    let usage = engine.store().usage()?;
    Ok(format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nCache usage: {}\n\nBuild cache usage: {}\n",
        format::list(None, &IMAGE_COLUMNS, &images)?,
        format::list(None, &CONTAINER_COLUMNS, &containers)?,
        format::size(usage.cache.size),
        format::size(usage.builds.size)
    ))
}

fn image_items(engine: &Engine, containers: &[Summary], now: SystemTime) -> Result<Vec<Value>> {
    let usage = engine.store().usage_by_image()?;
    let mut items = Vec::new();
    for image in engine.store().images()? {
        let taken = usage.iter().find(|usage| usage.digest == image.digest);
        let (size, shared) = taken.map_or((0, 0), |usage| (usage.size, usage.shared));
        let members = engine.store().members(&image)?;
        let uses = |summary: &&Summary| {
            members.iter().any(|member| member.digest == summary.container.image.manifest)
        };
        let count = containers.iter().filter(uses).count();
        let names = image.names.iter().map(Some);
        let names: Vec<_> = if image.names.is_empty() { vec![None] } else { names.collect() };
        items.extend(names.into_iter().map(|name| {
            json!({
                "Repository": name.map_or_else(|| NONE.to_owned(), Reference::familiar_repository),
                "Tag": name.and_then(Reference::tag).unwrap_or(NONE),
                "ID": image.id.short(),
                "CreatedSince": image.created.map_or_else(|| "N/A".to_owned(), |at| format::ago(now, at)),
                "Size": format::size(size),
                "SharedSize": format::size(shared),
                "UniqueSize": format::size(size - shared),
                "Containers": count.to_string(),
            })
        }));
    }
    Ok(items)
}

fn row(kind: &str, total: u64, active: u64, size: u64, reclaimable: u64) -> Value {
    let percent = (reclaimable * 100).checked_div(size).map(|percent| format!(" ({percent}%)"));
    json!({
        "Type": kind,
        "TotalCount": total.to_string(),
        "Active": active.to_string(),
        "Size": format::size(size),
        "Reclaimable": format!("{}{}", format::size(reclaimable), percent.unwrap_or_default()),
    })
}
