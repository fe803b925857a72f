//! What a container uses, as runc's `events` tells it.

use std::fs;

use serde_json::{Map, Value, json};

use super::{Cgroups, Directory};

impl Cgroups {
    /// The figures of all controllers that are there.
    pub(crate) fn stats(&self) -> Value {
        let mut stats = Map::new();
        if let Some(directory) = self.of("cpuacct").or_else(|| self.of("cpu")) {
            stats.insert("cpu".to_owned(), cpu(directory, self.of("cpu")));
        }
        if let Some(directory) = self.of("memory") {
            stats.insert("memory".to_owned(), memory(directory));
        }
        if let Some(directory) = self.of("pids") {
            let limit = number(directory, "pids.max").unwrap_or(0);
            let current = number(directory, "pids.current").unwrap_or(0);
            stats.insert("pids".to_owned(), json!({ "current": current, "limit": limit }));
        }
        Value::Object(stats)
    }
}

fn text(directory: &Directory, file: &str) -> String {
    fs::read_to_string(directory.path.join(file)).unwrap_or_default()
}

fn number(directory: &Directory, file: &str) -> Option<u64> {
    text(directory, file).trim().parse().ok()
}

/// The number after `name` in lines of `name number`.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.trim().parse().ok())?
    })
}

/// Times in nanoseconds.
fn cpu(accounting: &Directory, limiting: Option<&Directory>) -> Value {
    let of = |text: &str, name: &str| field(text, name).unwrap_or(0);
    if accounting.unified {
        let stat = text(accounting, "cpu.stat");
        return json!({
            "usage": {
                "total": of(&stat, "usage_usec") * 1000,
                "kernel": of(&stat, "system_usec") * 1000,
                "user": of(&stat, "user_usec") * 1000,
            },
            "throttling": {
                "periods": of(&stat, "nr_periods"),
                "throttledPeriods": of(&stat, "nr_throttled"),
                "throttledTime": of(&stat, "throttled_usec") * 1000,
            },
        });
    }
    let each = text(accounting, "cpuacct.usage_percpu");
    let each: Vec<u64> = each.split_whitespace().filter_map(|time| time.parse().ok()).collect();
    let stat = limiting.map(|directory| text(directory, "cpu.stat")).unwrap_or_default();
    json!({
        "usage": {
            "total": number(accounting, "cpuacct.usage").unwrap_or(0),
            "kernel": number(accounting, "cpuacct.usage_sys").unwrap_or(0),
            "user": number(accounting, "cpuacct.usage_user").unwrap_or(0),
            "percpu": each,
        },
        "throttling": {
            "periods": of(&stat, "nr_periods"),
            "throttledPeriods": of(&stat, "nr_throttled"),
            "throttledTime": of(&stat, "throttled_time"),
        },
    })
}

fn memory(directory: &Directory) -> Value {
    let stat = text(directory, "memory.stat");
    let raw: Map<String, Value> = stat
        .lines()
        .filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.parse::<u64>().ok()?.into()))
        })
        .collect();
    let one = |usage: &str, most: &str, failures: &str, limit: &str| {
        json!({
            "usage": number(directory, usage).unwrap_or(0),
            "max": number(directory, most).unwrap_or(0),
            "failcnt": number(directory, failures).unwrap_or(0),
            // There is none where it is `max`.
            "limit": number(directory, limit).unwrap_or(u64::MAX),
        })
    };
    if directory.unified {
        return json!({
            "cache": field(&stat, "file").unwrap_or(0),
            "usage": one("memory.current", "memory.peak", "", "memory.max"),
            "swap": one("memory.swap.current", "memory.swap.peak", "", "memory.swap.max"),
            "raw": raw,
        });
    }
    let kind = |name: &str| {
        let file = |what: &str| format!("memory.{name}{what}");
        one(
            &file("usage_in_bytes"),
            &file("max_usage_in_bytes"),
            &file("failcnt"),
            &file("limit_in_bytes"),
        )
    };
    json!({
        "cache": field(&stat, "cache").unwrap_or(0),
        "usage": kind(""),
        "swap": kind("memsw."),
        "kernel": kind("kmem."),
        "kernelTCP": kind("kmem.tcp."),
        "raw": raw,
    })
}
