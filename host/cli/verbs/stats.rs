//! `silo stats`

use std::{
    collections::BTreeMap,
    fs,
    io::{IsTerminal as _, stdout},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use crossterm::{
    cursor::MoveTo,
    terminal::{Clear, ClearType},
};
use serde_json::{Value, json};
use silo_engine::{Engine, Error, Summary};
use silo_isolation::{Network, Stats as Figures};

use crate::{
    context::Context,
    failure::{Failure, Result},
    format::{self, Column, binary_size},
    output,
};

/// Docker's columns.
const COLUMNS: [Column; 8] = [
    ("CONTAINER ID", "ID"),
    ("NAME", "Name"),
    ("CPU %", "CPUPerc"),
    ("MEM USAGE / LIMIT", "MemUsage"),
    ("MEM %", "MemPerc"),
    ("NET I/O", "NetIO"),
    ("BLOCK I/O", "BlockIO"),
    ("PIDS", "PIDs"),
];
/// Between two looks, over which processor time is told.
const PERIOD: Duration = Duration::from_secs(1);
/// Where Linux tells how much memory the machine has.
const MEMORY: &str = "/proc/meminfo";
const UNKNOWN: &str = "--";
const NOTHING: &str = "0B / 0B";

/// Tell what containers use, once a second
///
/// What cannot be known is shown as --. 100 % of a processor is one core.
#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Also those that don't run
    #[arg(short, long)]
    all: bool,
    /// Tell it once
    #[arg(long)]
    no_stream: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// A template such as '{{.ID}} {{.Name}}', `table TEMPLATE`, or json
    #[arg(long)]
    format: Option<String>,
    /// Names or ids; else all that run
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// A container at a moment.
struct Look {
    /// As it was asked for.
    query: String,
    summary: Summary,
    /// What it used then, if it ran and that could be told.
    used: Option<(Instant, Figures)>,
}

impl Stats {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let redraws = !self.no_stream && stdout().is_terminal();
        let machine = machine_memory();
        let mut before = self.first_look(&engine)?;
        loop {
            thread::sleep(PERIOD);
            let now = self.look(&engine)?;
            let earlier: BTreeMap<_, _> =
                before.iter().map(|look| (&look.summary.container.id, look)).collect();
            let items: Vec<Value> = now
                .iter()
                .map(|look| self.item(look, earlier.get(&look.summary.container.id), machine))
                .collect();
            let listed = format::list(self.format.as_deref(), &COLUMNS, &items)?;
            if redraws {
                crossterm::execute!(stdout(), Clear(ClearType::All), MoveTo(0, 0))
                    .map_err(|source| Failure::caused("cannot write to the terminal", source))?;
            }
            output::print(&listed)?;
            if self.no_stream || now.is_empty() && !self.containers.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
            before = now;
        }
    }

    /// [`look`](Self::look), and fails where one that was named does not exist.
    fn first_look(&self, engine: &Engine) -> Result<Vec<Look>> {
        for name in &self.containers {
            engine.inspect(name)?;
        }
        self.look(engine)
    }

    fn look(&self, engine: &Engine) -> Result<Vec<Look>> {
        let mut found = Vec::new();
        if self.containers.is_empty() {
            let mut containers = engine.list()?.containers;
            containers.retain(|summary| self.all || summary.state.status.is_live());
            let query = |summary: Summary| (summary.short_id().to_owned(), summary);
            found.extend(containers.into_iter().map(query));
        }
        for name in &self.containers {
            match engine.inspect(name) {
                Ok(summary) => found.push((name.clone(), summary)),
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found.into_iter().map(|(query, summary)| Look::at(engine, query, summary)).collect())
    }

    /// The fields that Docker gives a template.
    fn item(&self, look: &Look, before: Option<&&Look>, machine: Option<u64>) -> Value {
        let container = &look.summary.container;
        let id = if self.no_trunc { &container.id } else { look.summary.short_id() };
        let limit = container.bundle.limits.memory.into_iter().chain(machine).min();
        let runs = look.summary.state.status.is_live();
        let figure = |figure: Option<String>, zero: &str| {
            let none = if runs { UNKNOWN } else { zero };
            figure.unwrap_or_else(|| none.to_owned())
        };
        let used = look.used.as_ref().map(|(_, used)| used);
        let memory = used.and_then(|used| used.memory);
        let shown_limit = limit.map_or_else(|| UNKNOWN.to_owned(), binary_size);
        let usage = memory.map(|bytes| format!("{} / {shown_limit}", binary_size(bytes)));
        let share = memory.zip(limit).map(|(used, limit)| percent(used, limit));
        // Where there is no network, nothing goes over it.
        let network = (container.bundle.network == Network::None).then(|| NOTHING.to_owned());
        json!({
            "Container": look.query,
            "ID": id,
            "Name": container.name,
            "CPUPerc": figure(before.and_then(|before| look.processor(before)), "0.00%"),
            "MemUsage": figure(usage, NOTHING),
            "MemPerc": figure(share, "0.00%"),
            "NetIO": figure(network, NOTHING),
            "BlockIO": figure(None, NOTHING),
            "PIDs": figure(used.and_then(|used| used.pids).map(|pids| pids.to_string()), "0"),
        })
    }
}

impl Look {
    fn at(engine: &Engine, query: String, summary: Summary) -> Self {
        let stats = || engine.stats(&summary.container.id).ok();
        // One that has just ended, or is ending, uses nothing that could be told.
        let used = summary.state.status.is_live().then(stats).flatten();
        Self { query, used: used.map(|used| (Instant::now(), used)), summary }
    }

    /// The share of a core that was used since `before`.
    fn processor(&self, before: &Self) -> Option<String> {
        let ((then, earlier), (now, later)) = (before.used.as_ref()?, self.used.as_ref()?);
        // One that was started again has used less than before.
        let used = later.cpu_nanos?.saturating_sub(earlier.cpu_nanos?);
        let elapsed = u64::try_from(now.duration_since(*then).as_nanos()).ok()?;
        Some(percent(used, elapsed))
    }
}

#[expect(clippy::cast_precision_loss, reason = "two places are shown")]
fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", part as f64 * 100.0 / whole.max(1) as f64)
}

/// The memory of this machine in bytes, where that is told.
fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string(MEMORY).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_two_places() {
        assert_eq!(percent(0, 0), "0.00%");
        assert_eq!(percent(1, 3), "33.33%");
        assert_eq!(percent(3_000_000_000, 2_000_000_000), "150.00%");
    }
}
