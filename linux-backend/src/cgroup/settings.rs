//! From limits to the files of a cgroup (admin-guide/cgroup-v1, cgroup-v2 in the kernel).

use std::fmt::Display;

use silo_isolation::Limits;

use super::{Controller, Setting};

/// The period over which processor time is dealt out, in microseconds.
const PERIOD: u64 = 100_000;

/// The least processor time that the kernel takes as a limit: a hundredth of a core.
pub(crate) const LEAST_NANO_CPUS: u64 = 10_000_000;

/// The controllers that `limits` take.
pub(super) fn controllers(limits: &Limits) -> Vec<Controller> {
    [
        limits.memory.map(|_| Controller::Memory),
        limits.nano_cpus.map(|_| Controller::Cpu),
        limits.pids.map(|_| Controller::Pids),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn setting(file: &'static str, value: impl Display) -> Setting {
    Setting { file, value: format!("{value}"), optional: false }
}

fn optional(file: &'static str, value: impl Display) -> Setting {
    Setting { optional: true, ..setting(file, value) }
}

/// Processor time in a period, in microseconds.
const fn quota(nano_cpus: u64) -> u64 {
    nano_cpus.saturating_mul(PERIOD) / 1_000_000_000
}

/// Memory does not overflow into swap: a limit is one.
pub(super) fn legacy(controller: Controller, limits: &Limits) -> Vec<Setting> {
    match controller {
        Controller::Memory => limits.memory.map(|bytes| {
            vec![
                setting("memory.limit_in_bytes", bytes),
                optional("memory.memsw.limit_in_bytes", bytes),
            ]
        }),
        Controller::Cpu => limits.nano_cpus.map(|nanos| {
            vec![setting("cpu.cfs_period_us", PERIOD), setting("cpu.cfs_quota_us", quota(nanos))]
        }),
        Controller::Pids => limits.pids.map(|count| vec![setting("pids.max", count)]),
    }
    .unwrap_or_default()
}

pub(super) fn unified(controller: Controller, limits: &Limits) -> Vec<Setting> {
    match controller {
        Controller::Memory => limits
            .memory
            .map(|bytes| vec![setting("memory.max", bytes), optional("memory.swap.max", 0)]),
        Controller::Cpu => limits
            .nano_cpus
            .map(|nanos| vec![setting("cpu.max", format!("{} {PERIOD}", quota(nanos)))]),
        Controller::Pids => limits.pids.map(|count| vec![setting("pids.max", count)]),
    }
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_dealt_out_per_period() {
        let limits = Limits { nano_cpus: Some(1_500_000_000), ..Limits::default() };
        assert_eq!(controllers(&limits), [Controller::Cpu]);
        assert_eq!(unified(Controller::Cpu, &limits), [setting("cpu.max", "150000 100000")]);
        assert_eq!(
            legacy(Controller::Cpu, &limits).last(),
            Some(&setting("cpu.cfs_quota_us", 150_000))
        );
        assert_eq!(quota(LEAST_NANO_CPUS), 1000);
    }
}
