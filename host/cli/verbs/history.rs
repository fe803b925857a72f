//! `silo history`

use std::{process::ExitCode, time::SystemTime};

use clap::{ArgAction, Args};
use jiff::Timestamp;
use oci_spec::image::History as Step;
use serde_json::{Value, json};
use silo_layers::{Image, Platform};

use crate::{
    context::Context,
    failure::Result,
    format::{self, Column},
    output, values,
};

/// Docker's columns.
const COLUMNS: [Column; 5] = [
    ("IMAGE", "ID"),
    ("CREATED", "CreatedSince"),
    ("CREATED BY", "CreatedBy"),
    ("SIZE", "Size"),
    ("COMMENT", "Comment"),
];
/// How much of a command is shown, in characters, as in Docker.
const COMMAND_WIDTH: usize = 45;
/// What stands for the id of an image that was only a step on the way.
const MISSING: &str = "<missing>";

/// Tell how an image was made, the newest step first
#[derive(Debug, Args)]
pub(crate) struct History {
    /// Sizes and times for people
    #[arg(short = 'H', long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    human: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Ids alone
    #[arg(short, long)]
    quiet: bool,
    /// Of the image for this platform
    #[arg(long, value_name = "OS/ARCH", value_parser = values::platform)]
    platform: Option<Platform>,
    /// A template such as '{{.ID}} {{.Size}}', `table TEMPLATE`, or json
    #[arg(long)]
    format: Option<String>,
    /// Name or id
    image: String,
}

impl History {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let image = context.store()?.resolve(&self.image, self.platform.as_slice())?;
        let items = self.items(&image);
        if self.quiet {
            let ids = items.iter().filter_map(|item| item["ID"].as_str());
            output::print(&ids.fold(String::new(), |all, id| all + id + "\n"))?;
        } else {
            output::print(&format::list(self.format.as_deref(), &COLUMNS, &items)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The fields that Docker gives a template, for each step.
    fn items(&self, image: &Image) -> Vec<Value> {
        let now = SystemTime::now();
        let steps: Vec<&Step> = image.config.history().iter().flatten().collect();
        let is_empty = |step: &Step| step.empty_layer() == Some(true);
        let told = steps.iter().filter(|step| !is_empty(step)).count();
        let mut sizes = image.manifest.layers().iter().map(oci_spec::image::Descriptor::size);
        // An image need not say how its layers came to be.
        let untold = sizes.len().saturating_sub(told);
        let mut items: Vec<Value> =
            sizes.by_ref().take(untold).map(|size| self.item("", "", "", size, now)).collect();
        for step in &steps {
            let size = if is_empty(step) { 0 } else { sizes.next().unwrap_or_default() };
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            let (created, by) = (text(step.created()), text(step.created_by()));
            items.push(self.item(&created, &by, &text(step.comment()), size, now));
        }
        items.reverse();
        if let Some(newest) = items.first_mut() {
            let id = image.id;
            newest["ID"] = json!(if self.no_trunc { id.to_string() } else { id.short() });
        }
        items
    }

    fn item(&self, created: &str, by: &str, comment: &str, size: u64, now: SystemTime) -> Value {
        let time = created.parse::<Timestamp>().ok().map(SystemTime::from);
        let since = time.map_or_else(|| "N/A".to_owned(), |time| format::ago(now, time));
        // Tabs and line ends of scripts would break the table, and an image may hold anything.
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (by, comment) = (output::visible(&one_line(by)), output::visible(&one_line(comment)));
        json!({
            "ID": MISSING,
            "CreatedAt": created,
            "CreatedSince": if self.human { since } else { created.to_owned() },
            "CreatedBy": if self.no_trunc { by } else { format::shortened(&by, COMMAND_WIDTH) },
            "Size": if self.human { format::size(size) } else { size.to_string() },
            "Comment": comment,
        })
    }
}
