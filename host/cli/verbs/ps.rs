//! `silo ps`

use std::{process::ExitCode, time::SystemTime};

use clap::Args;
use serde_json::{Value, json};
use silo_engine::{Status, Summary};
use silo_isolation::MountKind;

use crate::{
    context::Context,
    failure::{Failure, Result},
    format::{self, Column},
    output,
};

/// Docker's columns.
const COLUMNS: [Column; 7] = [
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
];
/// How much of a command is shown, in characters, as in Docker.
pub(super) const COMMAND_WIDTH: usize = 20;

/// List containers
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of a command line")]
pub(crate) struct Ps {
    /// Also those that don't run
    #[arg(short, long)]
    all: bool,
    /// Ids alone
    #[arg(short, long)]
    quiet: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Only the last created, whether they run or not
    #[arg(short = 'n', long, value_name = "NUMBER")]
    last: Option<usize>,
    /// Only the last created, whether it runs or not
    #[arg(short, long, conflicts_with = "last")]
    latest: bool,
    /// Only some: id=, name=, status=, ancestor=, exited=
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// A template such as '{{.ID}} {{.Names}}', `table TEMPLATE`, or json
    #[arg(long)]
    format: Option<String>,
}

impl Ps {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let listing = context.engine()?.list()?;
        let last = if self.latest { Some(1) } else { self.last };
        let filters = self.filter.iter().map(|text| Filter::parse(text));
        let filters: Vec<Filter> = filters.collect::<Result<_>>()?;
        let by_status =
            filters.iter().any(|filter| filter.key == "status" || filter.key == "exited");
        let all = self.all || last.is_some() || by_status;
        let shown: Vec<&Summary> = listing
            .containers
            .iter()
            .filter(|summary| all || summary.state.status.is_live())
            .filter(|summary| filters.iter().all(|filter| filter.matches(summary)))
            .take(last.unwrap_or(usize::MAX))
            .collect();
        if self.quiet {
            let id = |summary: &&Summary| self.id(summary).to_owned() + "\n";
            output::print(&shown.iter().map(id).collect::<String>())?;
        } else {
            let now = SystemTime::now();
            let items: Vec<Value> = shown.iter().map(|summary| self.item(summary, now)).collect();
            output::print(&format::list(self.format.as_deref(), &COLUMNS, &items)?)?;
        }
        let mut code = ExitCode::SUCCESS;
        for error in listing.damaged {
            Failure::from(error).report();
            code = ExitCode::FAILURE;
        }
        Ok(code)
    }

    fn id<'s>(&self, summary: &'s Summary) -> &'s str {
        if self.no_trunc { &summary.container.id } else { summary.short_id() }
    }

    /// The fields that Docker gives a template.
    fn item(&self, summary: &Summary, now: SystemTime) -> Value {
        let (container, state) = (&summary.container, &summary.state);
        let mut command = command_line(&container.bundle.process.args);
        if !self.no_trunc {
            command = format::shortened(&command, COMMAND_WIDTH);
        }
        let mounts: Vec<String> = container
            .bundle
            .mounts
            .iter()
            .filter_map(|mount| match &mount.kind {
                MountKind::Bind { source } => Some(source.display().to_string()),
                MountKind::Tmpfs { .. } => None,
            })
            .collect();
        json!({
            "ID": self.id(summary),
            "Image": container.image.name,
            "Command": format!("\"{command}\""),
            "CreatedAt": container.created.to_string(),
            "RunningFor": format::ago(now, container.created.into()),
            "State": state.status.as_str(),
            "Status": status(summary, now),
            "Names": container.name,
            "Mounts": mounts.join(","),
            "Networks": serde_json::to_value(container.bundle.network).unwrap_or_default(),
            "Platform": container.image.platform.to_string(),
            "Backend": container.backend,
            "Ports": state.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            "Labels": "",
        })
    }
}

/// Arguments as Docker shows them: those with a blank in quotes.
pub(super) fn command_line(args: &[String]) -> String {
    let quoted = |arg: &String| if arg.contains(' ') { format!("'{arg}'") } else { arg.clone() };
    args.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// `Up 2 hours`, `Up 2 hours (Paused)`, `Exited (0) 5 minutes ago`, `Created`.
pub(super) fn status(summary: &Summary, now: SystemTime) -> String {
    let state = &summary.state;
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running | Status::Paused => {
            let since =
                state.started.map(SystemTime::from).and_then(|at| now.duration_since(at).ok());
            let paused = if state.status == Status::Paused { " (Paused)" } else { "" };
            format!("Up {}{paused}", format::duration(since.unwrap_or_default()))
        }
        Status::Exited => {
            let code = state.exit_code.unwrap_or_default();
            let ago = state.finished.map(|at| format!(" {}", format::ago(now, at.into())));
            format!("Exited ({code}){}", ago.unwrap_or_default())
        }
    }
}

struct Filter {
    key: String,
    value: String,
}

impl Filter {
    fn parse(text: &str) -> Result<Self> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if !["id", "name", "status", "ancestor", "exited"].contains(&key) {
            return Err(Failure::new(format!("invalid filter `{text}`"))
                .with_hint("filters are id=, name=, status=, ancestor= and exited="));
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }

    fn matches(&self, summary: &Summary) -> bool {
        let (container, value) = (&summary.container, self.value.as_str());
        match self.key.as_str() {
            "id" => container.id.starts_with(value),
            "name" => container.name.contains(value.trim_start_matches('/')),
            "status" => summary.state.status.as_str() == value,
            "exited" => {
                summary.state.status == Status::Exited
                    && summary.state.exit_code.is_some_and(|code| code.to_string() == value)
            }
            _ => {
                let full = |text: &str| {
                    text.parse::<silo_layers::Reference>().map(|name| name.to_string())
                };
                container.image.id.hex().starts_with(value)
                    || full(&container.image.name).is_ok_and(|name| Ok(name) == full(value))
            }
        }
    }
}
