//! From limits to the files of a cgroup (admin-guide/cgroup-v1, cgroup-v2 in the kernel).

use std::fmt::Display;

use silo_isolation::{Ceiling, Limits, Throttle};

use super::{Controller, Devices, Need, Setting};
use crate::devices::DeviceList;

/// The period over which processor time is dealt out, in microseconds.
const PERIOD: u64 = 100_000;

/// The least processor time that the kernel takes as a limit: a hundredth of a core.
pub(crate) const LEAST_NANO_CPUS: u64 = 10_000_000;

/// The controllers that `limits` take, each with the options that ask for it.
pub(super) fn asked(limits: &Limits) -> Vec<(&'static str, Controller)> {
    let asked = [
        ("--memory", Controller::Memory, limits.memory.is_some()),
        ("--memory-reservation", Controller::Memory, limits.memory_reservation.is_some()),
        ("--memory-swap", Controller::Memory, limits.memory_swap.is_some()),
        ("--memory-swappiness", Controller::Memory, limits.memory_swappiness.is_some()),
        ("--oom-kill-disable", Controller::Memory, limits.oom_kill_disable),
        ("--cpus", Controller::Cpu, limits.nano_cpus.is_some()),
        ("--cpu-shares", Controller::Cpu, limits.cpu_shares.is_some()),
        ("--cpu-period", Controller::Cpu, limits.cpu_period.is_some()),
        ("--cpu-quota", Controller::Cpu, limits.cpu_quota.is_some()),
        ("--cpuset-cpus", Controller::Cpuset, limits.cpuset_cpus.is_some()),
        ("--cpuset-mems", Controller::Cpuset, limits.cpuset_mems.is_some()),
        ("--pids-limit", Controller::Pids, limits.pids.is_some()),
        ("--blkio-weight", Controller::Io, limits.blkio_weight.is_some()),
    ];
    let rates = Throttle::ALL.into_iter().filter_map(|what| {
        let is_asked = limits.device_rates.iter().any(|rate| rate.what == what);
        is_asked.then_some((what.option(), Controller::Io))
    });
    let asked = asked.into_iter().filter(|(.., is_asked)| *is_asked);
    asked.map(|(option, controller, _)| (option, controller)).chain(rates).collect()
}

/// The controllers that `limits` take.
pub(super) fn controllers(limits: &Limits) -> Vec<Controller> {
    let asked = asked(limits);
    let is_asked = |one: &Controller| asked.iter().any(|(_, controller)| controller == one);
    Controller::ALL.into_iter().filter(is_asked).collect()
}

fn setting(file: &'static str, value: impl Display) -> Setting {
    Setting { file, value: format!("{value}"), need: Need::Required }
}

fn optional(file: &'static str, value: impl Display) -> Setting {
    Setting { need: Need::Optional, ..setting(file, value) }
}

/// Processor time in a period, in microseconds.
const fn quota(nano_cpus: u64) -> u64 {
    nano_cpus.saturating_mul(PERIOD) / 1_000_000_000
}

/// The files of a controller of version 1.
pub(super) fn legacy(controller: Controller, limits: &Limits, devices: &Devices) -> Vec<Setting> {
    match controller {
        Controller::Memory => legacy_memory(limits),
        Controller::Cpu => legacy_cpu(limits),
        Controller::Cpuset => cpuset(limits),
        Controller::Pids => pids(limits),
        Controller::Io => {
            let weight = limits.blkio_weight.map(|weight| setting("blkio.bfq.weight", weight));
            let rates = limits.device_rates.iter().filter_map(|rate| {
                let file = match rate.what {
                    Throttle::ReadBps => "blkio.throttle.read_bps_device",
                    Throttle::WriteBps => "blkio.throttle.write_bps_device",
                    Throttle::ReadIops => "blkio.throttle.read_iops_device",
                    Throttle::WriteIops => "blkio.throttle.write_iops_device",
                };
                let (major, minor) = devices.get(&rate.path)?;
                Some(setting(file, format!("{major}:{minor} {}", rate.rate)))
            });
            weight.into_iter().chain(rates).collect()
        }
        Controller::Devices => Vec::new(),
    }
}

/// The files of version 1 that say which devices are permitted.
pub(super) fn legacy_devices(list: &DeviceList) -> Vec<Setting> {
    list.lines().map(|(file, line)| setting(file, line)).collect()
}

/// Memory does not overflow into swap unless that is asked for: a limit is one.
fn legacy_memory(limits: &Limits) -> Vec<Setting> {
    let number = |ceiling: Ceiling| ceiling.number();
    let swap = match (limits.memory, limits.memory_swap) {
        (_, Some(both)) => Some(setting("memory.memsw.limit_in_bytes", number(both))),
        (Some(memory), None) => Some(optional("memory.memsw.limit_in_bytes", memory)),
        (None, None) => None,
    };
    [
        limits.memory.map(|bytes| setting("memory.limit_in_bytes", bytes)),
        swap,
        limits.memory_reservation.map(|bytes| setting("memory.soft_limit_in_bytes", bytes)),
        limits.memory_swappiness.map(|percent| setting("memory.swappiness", percent)),
        limits.oom_kill_disable.then(|| setting("memory.oom_control", 1)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn legacy_cpu(limits: &Limits) -> Vec<Setting> {
    let period = limits.nano_cpus.map(|_| PERIOD).or(limits.cpu_period);
    let most = limits.nano_cpus.map(|nanos| Ceiling::At(quota(nanos))).or(limits.cpu_quota);
    [
        limits.cpu_shares.map(|shares| setting("cpu.shares", shares)),
        period.map(|micros| setting("cpu.cfs_period_us", micros)),
        most.map(|micros| setting("cpu.cfs_quota_us", micros.number())),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The same in both versions.
fn cpuset(limits: &Limits) -> Vec<Setting> {
    let cpus = limits.cpuset_cpus.as_ref().map(|list| setting("cpuset.cpus", list));
    let mems = limits.cpuset_mems.as_ref().map(|list| setting("cpuset.mems", list));
    cpus.into_iter().chain(mems).collect()
}

fn pids(limits: &Limits) -> Vec<Setting> {
    limits.pids.iter().map(|count| setting("pids.max", count)).collect()
}

/// The files of a controller of version 2.
pub(super) fn unified(controller: Controller, limits: &Limits, devices: &Devices) -> Vec<Setting> {
    match controller {
        Controller::Memory => unified_memory(limits),
        Controller::Cpu => unified_cpu(limits),
        Controller::Cpuset => cpuset(limits),
        Controller::Pids => pids(limits),
        Controller::Io => unified_io(limits, devices),
        Controller::Devices => Vec::new(),
    }
}

/// There swap is counted alone. What version 2 has not is refused before.
fn unified_memory(limits: &Limits) -> Vec<Setting> {
    let swap = match (limits.memory, limits.memory_swap) {
        (_, Some(Ceiling::Unlimited)) => Some(setting("memory.swap.max", "max")),
        (Some(memory), Some(Ceiling::At(both))) => {
            Some(setting("memory.swap.max", both.saturating_sub(memory)))
        }
        (Some(_), None) => Some(optional("memory.swap.max", 0)),
        (None, _) => None,
    };
    [
        limits.memory.map(|bytes| setting("memory.max", bytes)),
        swap,
        limits.memory_reservation.map(|bytes| setting("memory.low", bytes)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn unified_cpu(limits: &Limits) -> Vec<Setting> {
    let period = limits.cpu_period.unwrap_or(PERIOD);
    let most = match (limits.nano_cpus, limits.cpu_quota, limits.cpu_period) {
        (Some(nanos), ..) => Some(format!("{} {PERIOD}", quota(nanos))),
        (None, Some(Ceiling::At(quota)), _) => Some(format!("{quota} {period}")),
        (None, None, None) => None,
        (None, ..) => Some(format!("max {period}")),
    };
    let weight = limits.cpu_shares.map(|shares| setting("cpu.weight", cpu_weight(shares)));
    weight.into_iter().chain(most.map(|most| setting("cpu.max", most))).collect()
}

/// Shares of version 1, 2 to 262144, as a weight of version 2, 1 to 10000: runc's conversion.
pub(crate) const fn cpu_weight(shares: u64) -> u64 {
    1 + (shares.saturating_sub(2).saturating_mul(9999)) / 262_142
}

/// A weight of BFQ, 10 to 1000, as one of `io.weight`, 1 to 10000: runc's conversion.
pub(crate) const fn io_weight(weight: u16) -> u64 {
    1 + ((weight as u64).saturating_sub(10) * 9999) / 990
}

fn unified_io(limits: &Limits, devices: &Devices) -> Vec<Setting> {
    let weight = limits.blkio_weight.map(|weight| {
        [
            Setting { need: Need::OrNext, ..setting("io.bfq.weight", weight) },
            setting("io.weight", io_weight(weight)),
        ]
    });
    let rates = limits.device_rates.iter().filter_map(|rate| {
        let key = match rate.what {
            Throttle::ReadBps => "rbps",
            Throttle::WriteBps => "wbps",
            Throttle::ReadIops => "riops",
            Throttle::WriteIops => "wiops",
        };
        let (major, minor) = devices.get(&rate.path)?;
        Some(setting("io.max", format!("{major}:{minor} {key}={}", rate.rate)))
    });
    weight.into_iter().flatten().chain(rates).collect()
}

#[cfg(test)]
mod tests {
    use silo_isolation::DeviceRate;

    use super::*;

    type Pair = (&'static str, String);

    fn written(
        settings: fn(Controller, &Limits, &Devices) -> Vec<Setting>,
        limits: &Limits,
    ) -> Vec<Pair> {
        let devices = [("/dev/disk".into(), (8, 16))].into();
        controllers(limits)
            .into_iter()
            .flat_map(|controller| settings(controller, limits, &devices))
            .map(|setting| (setting.file, setting.value))
            .collect()
    }

    fn pairs(expected: &[(&'static str, &str)]) -> Vec<Pair> {
        expected.iter().map(|&(file, value)| (file, value.to_owned())).collect()
    }

    #[track_caller]
    fn assert_written(
        limits: &Limits,
        version_1: &[(&'static str, &str)],
        version_2: &[(&'static str, &str)],
    ) {
        assert_eq!(written(legacy, limits), pairs(version_1));
        assert_eq!(written(unified, limits), pairs(version_2));
    }

    #[test]
    fn processor_time_is_dealt_out_per_period() {
        let limits = Limits { nano_cpus: Some(1_500_000_000), ..Limits::default() };
        assert_eq!(controllers(&limits), [Controller::Cpu]);
        assert_written(
            &limits,
            &[("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "150000")],
            &[("cpu.max", "150000 100000")],
        );
        assert_eq!(quota(LEAST_NANO_CPUS), 1000);
    }

    #[test]
    fn a_quota_goes_with_its_period_and_each_alone() {
        let of = |cpu_period, cpu_quota| Limits { cpu_period, cpu_quota, ..Limits::default() };
        assert_written(
            &of(Some(50_000), Some(Ceiling::At(25_000))),
            &[("cpu.cfs_period_us", "50000"), ("cpu.cfs_quota_us", "25000")],
            &[("cpu.max", "25000 50000")],
        );
        assert_written(
            &of(None, Some(Ceiling::At(25_000))),
            &[("cpu.cfs_quota_us", "25000")],
            &[("cpu.max", "25000 100000")],
        );
        assert_written(
            &of(Some(50_000), None),
            &[("cpu.cfs_period_us", "50000")],
            &[("cpu.max", "max 50000")],
        );
        assert_written(
            &of(None, Some(Ceiling::Unlimited)),
            &[("cpu.cfs_quota_us", "-1")],
            &[("cpu.max", "max 100000")],
        );
    }

    #[test]
    fn shares_become_a_weight() {
        let limits = Limits { cpu_shares: Some(512), ..Limits::default() };
        assert_written(&limits, &[("cpu.shares", "512")], &[("cpu.weight", "20")]);
        assert_eq!((cpu_weight(2), cpu_weight(1024), cpu_weight(262_144)), (1, 39, 10_000));
        assert_eq!((io_weight(10), io_weight(1000)), (1, 10_000));
    }

    #[test]
    fn swap_is_what_is_beyond_memory() {
        let of = |memory, memory_swap| Limits { memory, memory_swap, ..Limits::default() };
        assert_written(
            &of(Some(100), None),
            &[("memory.limit_in_bytes", "100"), ("memory.memsw.limit_in_bytes", "100")],
            &[("memory.max", "100"), ("memory.swap.max", "0")],
        );
        assert_written(
            &of(Some(100), Some(Ceiling::At(150))),
            &[("memory.limit_in_bytes", "100"), ("memory.memsw.limit_in_bytes", "150")],
            &[("memory.max", "100"), ("memory.swap.max", "50")],
        );
        assert_written(
            &of(Some(100), Some(Ceiling::Unlimited)),
            &[("memory.limit_in_bytes", "100"), ("memory.memsw.limit_in_bytes", "-1")],
            &[("memory.max", "100"), ("memory.swap.max", "max")],
        );
    }

    #[test]
    fn memory_has_more_to_it_than_a_limit() {
        let limits = Limits {
            memory_reservation: Some(7),
            memory_swappiness: Some(60),
            oom_kill_disable: true,
            ..Limits::default()
        };
        assert_written(
            &limits,
            &[
                ("memory.soft_limit_in_bytes", "7"),
                ("memory.swappiness", "60"),
                ("memory.oom_control", "1"),
            ],
            &[("memory.low", "7")],
        );
    }

    #[test]
    fn devices_are_named_by_number() {
        let rate = |what, rate| DeviceRate { path: "/dev/disk".into(), what, rate };
        let limits = Limits {
            blkio_weight: Some(500),
            cpuset_cpus: Some("0-1".to_owned()),
            cpuset_mems: Some("0".to_owned()),
            device_rates: vec![rate(Throttle::ReadBps, 1024), rate(Throttle::WriteIops, 9)],
            ..Limits::default()
        };
        assert_written(
            &limits,
            &[
                ("cpuset.cpus", "0-1"),
                ("cpuset.mems", "0"),
                ("blkio.bfq.weight", "500"),
                ("blkio.throttle.read_bps_device", "8:16 1024"),
                ("blkio.throttle.write_iops_device", "8:16 9"),
            ],
            &[
                ("cpuset.cpus", "0-1"),
                ("cpuset.mems", "0"),
                ("io.bfq.weight", "500"),
                ("io.weight", "4950"),
                ("io.max", "8:16 rbps=1024"),
                ("io.max", "8:16 wiops=9"),
            ],
        );
    }
}
