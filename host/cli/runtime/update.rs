//! `update`.

use std::{
    fs,
    io::{Read as _, stdin},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde_json::{Map, Value, json};
use silo_linux::runtime::{Runtime, spec::LinuxResources};

use crate::{
    failure::{Failure, Result},
    format,
};

/// Change what a container may use up
#[derive(Debug, Args)]
pub(super) struct Update {
    /// Read it from FILE, as linux.resources of config.json has it; - is stdin
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// A weight of block input and output, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// The period of --cpu-quota, in microseconds
    #[arg(long, value_name = "MICROS")]
    cpu_period: Option<u64>,
    /// Processor time in each period, in microseconds
    #[arg(long, value_name = "MICROS", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// What of it may be used later, in microseconds
    #[arg(long, value_name = "MICROS")]
    cpu_burst: Option<u64>,
    /// A relative weight of processor time
    #[arg(long, value_name = "SHARES")]
    cpu_share: Option<u64>,
    /// The period of --cpu-rt-runtime, in microseconds
    #[arg(long, value_name = "MICROS")]
    cpu_rt_period: Option<u64>,
    /// Time of real-time scheduling in each period, in microseconds
    #[arg(long, value_name = "MICROS", allow_hyphen_values = true)]
    cpu_rt_runtime: Option<i64>,
    /// Processors
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Memory
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory: Option<String>,
    /// Memory that is left when others are short of it
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_reservation: Option<String>,
    /// Memory and swap together
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Processes
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Whether it runs only when nobody else does
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<i64>,
    /// The container's name
    #[arg(value_name = "ID")]
    id: String,
}

impl Update {
    pub(super) fn run(self, runtime: &Runtime) -> Result<ExitCode> {
        let resources = match &self.resources {
            Some(file) => read(file)?,
            None => self.asked()?,
        };
        let resources: LinuxResources = serde_json::from_value(resources).map_err(|source| {
            Failure::caused("these are no resources of a container", source).with_code(1)
        })?;
        runtime.update(&self.id, &resources)?;
        Ok(ExitCode::SUCCESS)
    }

    /// The options as the configuration has them.
    fn asked(&self) -> Result<Value> {
        let sizes = [
            ("limit", &self.memory),
            ("reservation", &self.memory_reservation),
            ("swap", &self.memory_swap),
        ];
        let mut memory = Map::new();
        for (key, size) in sizes {
            if let Some(size) = size {
                memory.insert(key.to_owned(), bytes(size)?.into());
            }
        }
        let cpu = without_nulls(json!({
            "period": self.cpu_period,
            "quota": self.cpu_quota,
            "burst": self.cpu_burst,
            "shares": self.cpu_share,
            "realtimePeriod": self.cpu_rt_period,
            "realtimeRuntime": self.cpu_rt_runtime,
            "cpus": self.cpuset_cpus,
            "mems": self.cpuset_mems,
            "idle": self.cpu_idle,
        }));
        Ok(without_nulls(json!({
            "memory": memory,
            "cpu": cpu,
            "pids": self.pids_limit.map(|limit| json!({ "limit": limit })),
            "blockIO": self.blkio_weight.map(|weight| json!({ "weight": weight })),
        })))
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        other => other,
    }
}

/// A size, or -1 for no limit.
fn bytes(text: &str) -> Result<i64> {
    if text == "-1" {
        return Ok(-1);
    }
    let size = format::parse_size(text).and_then(|size| {
        i64::try_from(size).map_err(|_| format!("`{text}` is more than there can be"))
    });
    size.map_err(|why| Failure::new(why).with_code(1))
}

fn read(file: &Path) -> Result<Value> {
    let failed = |source: std::io::Error| {
        Failure::caused(format!("cannot read {}", file.display()), source).with_code(1)
    };
    let text = if file == Path::new("-") {
        let mut text = String::new();
        stdin().read_to_string(&mut text).map_err(failed)?;
        text
    } else {
        fs::read_to_string(file).map_err(failed)?
    };
    serde_json::from_str(&text).map_err(|source| {
        Failure::caused(format!("cannot read {} as JSON", file.display()), source).with_code(1)
    })
}
