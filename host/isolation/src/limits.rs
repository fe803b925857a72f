//! What a guest may use up.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Refusal, Ulimit};

/// What a guest may use up. `None` is no limit beyond the backend's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// Memory that the guest is left when others are short of it, in bytes.
    pub memory_reservation: Option<u64>,
    /// Memory and swap together, in bytes. With a limit of memory alone there is no swap.
    pub memory_swap: Option<Ceiling>,
    /// How readily the guest's memory is swapped out, 0 to 100.
    pub memory_swappiness: Option<u8>,
    /// Whether a guest that is out of memory waits for some instead of being killed.
    pub oom_kill_disable: bool,
    /// Processor time, in billionths of a core (Docker's `NanoCpus`).
    pub nano_cpus: Option<u64>,
    /// The guest's weight where processors are contended, 2 to 262144; others have 1024.
    pub cpu_shares: Option<u64>,
    /// Over which time a quota of processor time is dealt out, in microseconds.
    pub cpu_period: Option<u64>,
    /// Processor time in a period, in microseconds.
    pub cpu_quota: Option<Ceiling>,
    /// The processors that it may run on: `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// The memory nodes that it may have memory of: `0,1`.
    pub cpuset_mems: Option<String>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// The guest's weight where a disk is contended, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// How fast it may read and write devices.
    pub device_rates: Vec<DeviceRate>,
    /// What each process may use up, in place of the backend's defaults.
    pub ulimits: Vec<Ulimit>,
    /// How soon its processes are killed when the host is short of memory, -1000 (never) to 1000.
    pub oom_score_adj: Option<i16>,
    /// The most that /dev/shm holds, in bytes.
    pub shm_size: Option<u64>,
    /// Wall-clock time from start, after which the sandbox is ended with SIGKILL.
    /// Held by the supervisor, whatever the backend.
    pub timeout: Option<Duration>,
}

/// The most of something, or no limit where there would else be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ceiling {
    /// As much as there is.
    Unlimited,
    /// So much, in the unit of what it limits.
    At(u64),
}

impl Ceiling {
    /// `None` as unlimited.
    #[must_use]
    pub fn of(most: Option<u64>) -> Self {
        most.map_or(Self::Unlimited, Self::At)
    }

    /// As Docker writes it: -1 is unlimited.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Unlimited => -1,
            Self::At(most) => i64::try_from(most).unwrap_or(i64::MAX),
        }
    }
}

/// How fast a guest may use a device of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRate {
    /// The block device.
    pub path: PathBuf,
    /// What is counted.
    pub what: Throttle,
    /// The most of it in a second.
    pub rate: u64,
}

/// What of a device is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Throttle {
    /// Bytes that are read.
    ReadBps,
    /// Bytes that are written.
    WriteBps,
    /// Readings.
    ReadIops,
    /// Writings.
    WriteIops,
}

impl Throttle {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ReadBps, Self::WriteBps, Self::ReadIops, Self::WriteIops];

    /// The option that asks for it.
    #[must_use]
    pub const fn option(self) -> &'static str {
        match self {
            Self::ReadBps => "--device-read-bps",
            Self::WriteBps => "--device-write-bps",
            Self::ReadIops => "--device-read-iops",
            Self::WriteIops => "--device-write-iops",
        }
    }
}

impl Limits {
    /// Processor time in billionths of a core, in whichever way it was asked for.
    #[must_use]
    pub fn processor_time(&self) -> Option<u64> {
        // The kernel's default.
        const PERIOD: u64 = 100_000;
        let period = self.cpu_period.unwrap_or(PERIOD).max(1);
        match self.cpu_quota {
            Some(Ceiling::At(quota)) if self.nano_cpus.is_none() => {
                Some(quota.saturating_mul(1000).saturating_mul(1_000_000) / period)
            }
            _ => self.nano_cpus,
        }
    }

    /// These limits, but those that `change` has in the place of their own.
    #[must_use]
    pub fn changed_by(&self, change: &Self) -> Self {
        Self {
            memory: change.memory.or(self.memory),
            memory_reservation: change.memory_reservation.or(self.memory_reservation),
            memory_swap: change.memory_swap.or(self.memory_swap),
            nano_cpus: change.nano_cpus.or(self.nano_cpus),
            cpu_shares: change.cpu_shares.or(self.cpu_shares),
            cpu_period: change.cpu_period.or(self.cpu_period),
            cpu_quota: change.cpu_quota.or(self.cpu_quota),
            cpuset_cpus: change.cpuset_cpus.clone().or_else(|| self.cpuset_cpus.clone()),
            cpuset_mems: change.cpuset_mems.clone().or_else(|| self.cpuset_mems.clone()),
            pids: change.pids.or(self.pids),
            blkio_weight: change.blkio_weight.or(self.blkio_weight),
            ..self.clone()
        }
    }

    /// What of these limits no backend could hold, as they contradict each other or mean nothing.
    #[must_use]
    pub fn contradictions(&self) -> Vec<Refusal> {
        let mut found = self.memory_contradictions();
        found.extend(self.processor_contradictions());
        let mut refuse = |what: &str, why: &str| found.push(Refusal::new(what, why));
        if self.blkio_weight.is_some_and(|weight| !(10..=1000).contains(&weight)) {
            refuse("--blkio-weight", "it is from 10 to 1000");
        }
        if self.oom_score_adj.is_some_and(|score| !(-1000..=1000).contains(&score)) {
            refuse("--oom-score-adj", "it is from -1000 to 1000");
        }
        if self.shm_size == Some(0) {
            refuse("--shm-size", "it is more than 0");
        }
        for rate in self.device_rates.iter().filter(|rate| rate.rate == 0) {
            refuse(rate.what.option(), "a rate is more than 0");
        }
        found
    }

    fn memory_contradictions(&self) -> Vec<Refusal> {
        let mut found = Vec::new();
        let mut refuse = |what: &str, why: &str| found.push(Refusal::new(what, why));
        match (self.memory, self.memory_swap) {
            (None, Some(Ceiling::At(_))) => {
                refuse("--memory-swap", "it is memory and swap together, and needs --memory");
            }
            (Some(memory), Some(Ceiling::At(both))) if both < memory => {
                refuse(
                    "--memory-swap",
                    "it is memory and swap together, and cannot be less than --memory",
                );
            }
            _ => {}
        }
        if self.memory.zip(self.memory_reservation).is_some_and(|(most, kept)| kept > most) {
            refuse("--memory-reservation", "it cannot be more than --memory");
        }
        if self.memory_swappiness.is_some_and(|percent| percent > 100) {
            refuse("--memory-swappiness", "it is from 0 to 100");
        }
        found
    }

    fn processor_contradictions(&self) -> Vec<Refusal> {
        let mut found = Vec::new();
        let mut refuse = |what: &str, why: &str| found.push(Refusal::new(what, why));
        if self.nano_cpus.is_some() && (self.cpu_period.is_some() || self.cpu_quota.is_some()) {
            refuse("--cpus", "it conflicts with --cpu-period and --cpu-quota, which say the same");
        }
        if self.cpu_period.is_some_and(|period| !(1000..=1_000_000).contains(&period)) {
            refuse("--cpu-period", "it is from 1000 to 1000000 microseconds");
        }
        if matches!(self.cpu_quota, Some(Ceiling::At(quota)) if quota < 1000) {
            refuse("--cpu-quota", "the least is 1000 microseconds");
        }
        if self.cpu_shares.is_some_and(|shares| !(2..=262_144).contains(&shares)) {
            refuse("--cpu-shares", "they are from 2 to 262144");
        }
        for (what, list) in
            [("--cpuset-cpus", &self.cpuset_cpus), ("--cpuset-mems", &self.cpuset_mems)]
        {
            if list.as_ref().is_some_and(|list| list.parse::<NumberSet>().is_err()) {
                refuse(what, "expected numbers and ranges, such as 0-2,4");
            }
        }
        found
    }
}

/// Processors or memory nodes by number, as the kernel lists them (`List Format` of cpuset(7)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberSet(Vec<(u32, u32)>);

impl NumberSet {
    /// Whether all of these are among those of `other`.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let has = |number: u32| other.0.iter().any(|&(from, to)| from <= number && number <= to);
        self.0.iter().all(|&(from, to)| (from..=to).all(has))
    }
}

/// Text that is no list of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSet;

impl fmt::Display for InvalidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected numbers and ranges, such as 0-2,4")
    }
}

impl FromStr for NumberSet {
    type Err = InvalidSet;

    fn from_str(text: &str) -> Result<Self, InvalidSet> {
        // More than any kernel has; what is counted out must be countable.
        const MOST: u32 = 1 << 16;
        let number = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|&number: &u32| plain && number < MOST).ok_or(InvalidSet)
        };
        let range = |part: &str| match part.split_once('-') {
            Some((from, to)) => match (number(from)?, number(to)?) {
                (from, to) if from <= to => Ok((from, to)),
                _ => Err(InvalidSet),
            },
            None => number(part).map(|number| (number, number)),
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(limits: &Limits) -> Vec<String> {
        limits.contradictions().into_iter().map(|refusal| refusal.what).collect()
    }

    #[test]
    fn what_contradicts_is_told_at_once() {
        let limits = Limits {
            memory: Some(100),
            memory_swap: Some(Ceiling::At(99)),
            memory_reservation: Some(101),
            memory_swappiness: Some(101),
            nano_cpus: Some(1),
            cpu_period: Some(999),
            cpu_quota: Some(Ceiling::At(999)),
            cpu_shares: Some(1),
            cpuset_cpus: Some("1-0".to_owned()),
            cpuset_mems: Some(String::new()),
            blkio_weight: Some(9),
            device_rates: vec![DeviceRate {
                path: "/dev/a".into(),
                what: Throttle::WriteIops,
                rate: 0,
            }],
            ..Limits::default()
        };
        assert_eq!(
            refused(&limits),
            [
                "--memory-swap",
                "--memory-reservation",
                "--memory-swappiness",
                "--cpus",
                "--cpu-period",
                "--cpu-quota",
                "--cpu-shares",
                "--cpuset-cpus",
                "--cpuset-mems",
                "--blkio-weight",
                "--device-write-iops"
            ]
        );
        assert!(refused(&Limits::default()).is_empty());
    }

    #[test]
    fn processor_time_is_a_quota_of_a_period() {
        let of = |nano_cpus, cpu_period, cpu_quota| {
            let limits = Limits { nano_cpus, cpu_period, cpu_quota, ..Limits::default() };
            limits.processor_time()
        };
        assert_eq!(of(None, None, Some(Ceiling::At(50_000))), Some(500_000_000));
        assert_eq!(of(None, Some(10_000), Some(Ceiling::At(20_000))), Some(2_000_000_000));
        assert_eq!(of(None, Some(10_000), Some(Ceiling::Unlimited)), None);
        assert_eq!(of(Some(7), None, None), Some(7));
    }

    #[test]
    fn swap_is_counted_with_memory() {
        let swap = |memory, both| Limits { memory, memory_swap: Some(both), ..Limits::default() };
        assert_eq!(refused(&swap(None, Ceiling::At(5))), ["--memory-swap"]);
        for (memory, both) in
            [(Some(5), Ceiling::At(5)), (Some(5), Ceiling::Unlimited), (None, Ceiling::Unlimited)]
        {
            assert!(refused(&swap(memory, both)).is_empty(), "{memory:?} {both:?}");
        }
    }

    #[test]
    fn what_a_change_does_not_have_stays() {
        let limits =
            Limits { memory: Some(1), pids: Some(2), shm_size: Some(3), ..Limits::default() };
        let change = Limits { memory: Some(5), cpu_shares: Some(6), ..Limits::default() };
        let expected = Limits { memory: Some(5), cpu_shares: Some(6), ..limits.clone() };
        assert_eq!(limits.changed_by(&change), expected);
    }

    #[test]
    fn a_set_is_within_another_when_all_its_numbers_are() {
        let set = |text: &str| text.parse::<NumberSet>().unwrap();
        assert!(set("0,2-3").is_within(&set("0-3")));
        assert!(!set("0,4").is_within(&set("0-3")));
        for text in ["", ",", "-", "1-", "-1", "a", "2-1", "+1", "1, 2", "70000"] {
            assert!(text.parse::<NumberSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn limits_of_an_older_record_are_read() {
        let old = r#"{"memory":5,"nano_cpus":null,"pids":7,"timeout":null}"#;
        let limits: Limits = serde_json::from_str(old).unwrap();
        let expected = Limits { memory: Some(5), pids: Some(7), ..Limits::default() };
        assert_eq!(limits, expected);
    }
}
