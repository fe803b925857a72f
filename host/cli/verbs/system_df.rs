//! `silo system df`

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

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

/// Tell what images, containers and caches occupy on the disk
#[derive(Debug, Args)]
pub(crate) struct Df {
    /// A template such as '{{.Type}} {{.Size}}', `table TEMPLATE`, or json
    #[arg(long)]
    format: Option<String>,
}

impl Df {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
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
        ];
        output::print(&format::list(self.format.as_deref(), &COLUMNS, &items)?)?;
        Ok(ExitCode::SUCCESS)
    }
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
