//! From the configuration's resources to files of cgroups (config-linux.md, "Control groups").

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxNetwork, LinuxRdma,
    LinuxResources, LinuxThrottleDevice,
};

use super::super::{Error, Result};
use crate::cgroup::{cpu_weight, io_weight};

/// One file of a cgroup and what it is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) controller: &'static str,
    pub(crate) file: String,
    pub(crate) value: String,
    /// Whether it is no failure that the kernel has no such file.
    pub(crate) optional: bool,
}

#[allow(clippy::needless_pass_by_value)] // numbers and texts
fn setting(controller: &'static str, file: impl Into<String>, value: impl ToString) -> Setting {
    Setting { controller, file: file.into(), value: value.to_string(), optional: false }
}

fn optional(controller: &'static str, file: impl Into<String>, value: impl ToString) -> Setting {
    Setting { optional: true, ..setting(controller, file, value) }
}

/// -1 as version 2 writes it.
fn or_max(number: i64) -> String {
    if number < 0 { "max".to_owned() } else { number.to_string() }
}

/// The files of version 1.
pub(crate) fn legacy(resources: &LinuxResources) -> Vec<Setting> {
    let mut all = Vec::new();
    all.extend(resources.memory().iter().flat_map(legacy_memory));
    all.extend(resources.cpu().iter().flat_map(legacy_cpu));
    all.extend(resources.cpu().iter().flat_map(cpuset));
    all.extend(resources.pids().as_ref().map(|pids| limit_pids(pids.limit())));
    all.extend(resources.block_io().iter().flat_map(legacy_block_io));
    for limit in resources.hugepage_limits().iter().flatten() {
        all.extend(legacy_huge_pages(limit));
    }
    all.extend(resources.network().iter().flat_map(network));
    for (device, limit) in resources.rdma().iter().flatten() {
        all.push(rdma(device, limit));
    }
    all
}

fn legacy_memory(memory: &LinuxMemory) -> Vec<Setting> {
    [
        memory.limit().map(|bytes| setting("memory", "memory.limit_in_bytes", bytes)),
        // Both together are no less than one of them: without a limit of memory there is none of both.
        memory
            .swap()
            .or_else(|| memory.limit().filter(|limit| *limit == -1))
            .map(|bytes| optional("memory", "memory.memsw.limit_in_bytes", bytes)),
        memory.reservation().map(|bytes| setting("memory", "memory.soft_limit_in_bytes", bytes)),
        memory
            .kernel_tcp()
            .map(|bytes| optional("memory", "memory.kmem.tcp.limit_in_bytes", bytes)),
        memory.swappiness().map(|much| setting("memory", "memory.swappiness", much)),
        memory
            .disable_oom_killer()
            .filter(|disable| *disable)
            .map(|_| setting("memory", "memory.oom_control", 1)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn legacy_cpu(cpu: &LinuxCpu) -> Vec<Setting> {
    let positive = |number: &u64| *number > 0;
    [
        cpu.shares().filter(positive).map(|much| setting("cpu", "cpu.shares", much)),
        cpu.period().filter(positive).map(|us| setting("cpu", "cpu.cfs_period_us", us)),
        cpu.quota().filter(|us| *us != 0).map(|us| setting("cpu", "cpu.cfs_quota_us", us)),
        cpu.burst().map(|us| optional("cpu", "cpu.cfs_burst_us", us)),
        cpu.realtime_period().filter(positive).map(|us| setting("cpu", "cpu.rt_period_us", us)),
        cpu.realtime_runtime()
            .filter(|us| *us != 0)
            .map(|us| setting("cpu", "cpu.rt_runtime_us", us)),
        cpu.idle().map(|idle| setting("cpu", "cpu.idle", idle)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The same in both versions.
fn cpuset(cpu: &LinuxCpu) -> Vec<Setting> {
    let list = |file: &str, list: &Option<String>| {
        let list = list.as_deref().filter(|list| !list.is_empty())?;
        Some(setting("cpuset", file, list))
    };
    [list("cpuset.cpus", cpu.cpus()), list("cpuset.mems", cpu.mems())]
        .into_iter()
        .flatten()
        .collect()
}

/// The same in both versions. Of none at all there is no container, and systemd knows no such limit: as
/// for runc, it is one.
fn limit_pids(limit: i64) -> Setting {
    let limit = if limit == 0 { 1 } else { limit };
    setting("pids", "pids.max", or_max(limit))
}

fn legacy_block_io(io: &LinuxBlockIo) -> Vec<Setting> {
    let mut all: Vec<Setting> = [
        io.weight()
            .filter(|weight| *weight != 0)
            .map(|weight| optional("blkio", "blkio.bfq.weight", weight)),
        io.leaf_weight()
            .filter(|weight| *weight != 0)
            .map(|weight| optional("blkio", "blkio.leaf_weight", weight)),
    ]
    .into_iter()
    .flatten()
    .collect();
    for device in io.weight_device().iter().flatten() {
        let of = |weight: u16| format!("{}:{} {weight}", device.major(), device.minor());
        all.extend(
            device.weight().map(|weight| optional("blkio", "blkio.bfq.weight_device", of(weight))),
        );
        all.extend(
            device
                .leaf_weight()
                .map(|weight| optional("blkio", "blkio.leaf_weight_device", of(weight))),
        );
    }
    for (file, devices) in throttles(io) {
        for device in devices {
            let value = format!("{}:{} {}", device.major(), device.minor(), device.rate());
            all.push(setting("blkio", format!("blkio.throttle.{file}_device"), value));
        }
    }
    all
}

fn throttles(io: &LinuxBlockIo) -> [(&'static str, &[LinuxThrottleDevice]); 4] {
    [
        ("read_bps", io.throttle_read_bps_device().as_deref()),
        ("write_bps", io.throttle_write_bps_device().as_deref()),
        ("read_iops", io.throttle_read_iops_device().as_deref()),
        ("write_iops", io.throttle_write_iops_device().as_deref()),
    ]
    .map(|(file, devices)| (file, devices.unwrap_or_default()))
}

fn legacy_huge_pages(limit: &LinuxHugepageLimit) -> [Setting; 2] {
    let file = |name: &str| format!("hugetlb.{}.{name}", limit.page_size());
    [
        setting("hugetlb", file("limit_in_bytes"), limit.limit()),
        optional("hugetlb", file("rsvd.limit_in_bytes"), limit.limit()),
    ]
}

fn network(network: &LinuxNetwork) -> Vec<Setting> {
    let class = network.class_id().map(|id| setting("net_cls", "net_cls.classid", id));
    let priorities = network.priorities().iter().flatten().map(|interface| {
        let value = format!("{} {}", interface.name(), interface.priority());
        setting("net_prio", "net_prio.ifpriomap", value)
    });
    class.into_iter().chain(priorities).collect()
}

fn rdma(device: &str, limit: &LinuxRdma) -> Setting {
    let of = |name: &str, most: Option<u32>| most.map(|most| format!(" {name}={most}"));
    let limits = [of("hca_handle", limit.hca_handles()), of("hca_object", limit.hca_objects())];
    let limits: String = limits.into_iter().flatten().collect();
    setting("rdma", "rdma.max", format!("{device}{limits}"))
}

/// The files of version 2.
pub(crate) fn unified(resources: &LinuxResources) -> Result<Vec<Setting>> {
    let mut all = Vec::new();
    if let Some(memory) = resources.memory() {
        all.extend(unified_memory(memory)?);
    }
    all.extend(resources.cpu().iter().flat_map(unified_cpu));
    all.extend(resources.cpu().iter().flat_map(cpuset));
    all.extend(resources.pids().as_ref().map(|pids| limit_pids(pids.limit())));
    all.extend(resources.block_io().iter().flat_map(unified_io));
    for limit in resources.hugepage_limits().iter().flatten() {
        let file = |name: &str| format!("hugetlb.{}.{name}", limit.page_size());
        all.push(setting("hugetlb", file("max"), limit.limit()));
        all.push(optional("hugetlb", file("rsvd.max"), limit.limit()));
    }
    for (device, limit) in resources.rdma().iter().flatten() {
        all.push(rdma(device, limit));
    }
    Ok(all)
}

/// The configuration's own files of version 2, which it names by their names.
pub(crate) fn named(resources: &LinuxResources) -> Result<Vec<Setting>> {
    let mut all = Vec::new();
    for (file, value) in resources.unified().iter().flatten() {
        let is_name = !file.contains('/') && file.contains('.') && !file.starts_with("cgroup.");
        if !is_name && file != "cgroup.max.descendants" && file != "cgroup.max.depth" {
            return Err(Error::config("linux.resources.unified", format!("`{file}` is no limit")));
        }
        for line in value.lines() {
            all.push(setting("unified", file.clone(), line));
        }
    }
    Ok(all)
}

/// There swap is counted alone.
fn unified_memory(memory: &LinuxMemory) -> Result<Vec<Setting>> {
    let limit = memory.limit().filter(|limit| *limit != 0);
    let swap = match (memory.swap().filter(|swap| *swap != 0), limit) {
        (Some(-1), _) | (None, Some(-1)) => Some("max".to_owned()),
        (None, _) => None,
        (Some(both), Some(limit)) if limit >= 0 && both >= limit => {
            Some((both - limit).to_string())
        }
        (Some(_), Some(limit)) if limit >= 0 => {
            let why = "memory and swap together are limited below memory alone";
            return Err(Error::config("linux.resources.memory.swap", why));
        }
        (Some(_), _) => {
            let why = "it is of memory and swap together, and memory has no limit";
            return Err(Error::config("linux.resources.memory.swap", why));
        }
    };
    Ok([
        swap.map(|value| optional("memory", "memory.swap.max", value)),
        limit.map(|bytes| setting("memory", "memory.max", or_max(bytes))),
        memory
            .reservation()
            .filter(|bytes| *bytes != 0)
            .map(|bytes| setting("memory", "memory.low", or_max(bytes))),
    ]
    .into_iter()
    .flatten()
    .collect())
}

fn unified_cpu(cpu: &LinuxCpu) -> Vec<Setting> {
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    let most = (quota.is_some() || period.is_some()).then(|| {
        let quota = quota.filter(|quota| *quota > 0);
        let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        format!("{quota} {}", period.unwrap_or(100_000))
    });
    [
        cpu.shares()
            .filter(|shares| *shares != 0)
            .map(|shares| setting("cpu", "cpu.weight", cpu_weight(shares))),
        most.map(|most| setting("cpu", "cpu.max", most)),
        cpu.burst().map(|us| optional("cpu", "cpu.max.burst", us)),
        cpu.idle().map(|idle| setting("cpu", "cpu.idle", idle)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn unified_io(io: &LinuxBlockIo) -> Vec<Setting> {
    let mut all: Vec<Setting> = Vec::new();
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        all.push(optional("io", "io.bfq.weight", weight));
        all.push(optional("io", "io.weight", io_weight(weight)));
    }
    for device in io.weight_device().iter().flatten() {
        all.extend(device.weight().map(|weight| {
            let value = format!("{}:{} {weight}", device.major(), device.minor());
            optional("io", "io.bfq.weight", value)
        }));
    }
    for (file, devices) in throttles(io) {
        // `read_bps` of version 1 is `rbps` of version 2.
        let key = file.replace("read_", "r").replace("write_", "w");
        for device in devices {
            let value = format!("{}:{} {key}={}", device.major(), device.minor(), device.rate());
            all.push(setting("io", "io.max", value));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(json: &str) -> LinuxResources {
        serde_json::from_str(json).unwrap()
    }

    fn lines(settings: &[Setting]) -> Vec<String> {
        settings.iter().map(|one| format!("{}={}", one.file, one.value)).collect()
    }

    const ALL: &str = r#"{
        "memory": {"limit": 1000, "swap": 3000, "reservation": 500, "swappiness": 7},
        "cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0-1", "mems": "0"},
        "pids": {"limit": 32},
        "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 9}]
    }"#;

    #[test]
    fn resources_are_files_of_version_1() {
        assert_eq!(
            lines(&legacy(&resources(ALL))),
            [
                "memory.limit_in_bytes=1000",
                "memory.memsw.limit_in_bytes=3000",
                "memory.soft_limit_in_bytes=500",
                "memory.swappiness=7",
                "cpu.shares=1024",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=50000",
                "cpuset.cpus=0-1",
                "cpuset.mems=0",
                "pids.max=32",
                "blkio.throttle.read_bps_device=8:0 600",
                "hugetlb.2MB.limit_in_bytes=9",
                "hugetlb.2MB.rsvd.limit_in_bytes=9",
            ]
        );
    }

    #[test]
    fn resources_are_files_of_version_2() {
        assert_eq!(
            lines(&unified(&resources(ALL)).unwrap()),
            [
                "memory.swap.max=2000",
                "memory.max=1000",
                "memory.low=500",
                "cpu.weight=39",
                "cpu.max=50000 100000",
                "cpuset.cpus=0-1",
                "cpuset.mems=0",
                "pids.max=32",
                "io.max=8:0 rbps=600",
                "hugetlb.2MB.max=9",
                "hugetlb.2MB.rsvd.max=9",
            ]
        );
    }

    #[test]
    fn no_limit_is_minus_one_in_version_1_and_max_in_version_2() {
        let none = resources(
            r#"{"memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1}}"#,
        );
        assert_eq!(
            lines(&unified(&none).unwrap()),
            ["memory.swap.max=max", "memory.max=max", "cpu.max=max 100000", "pids.max=max"]
        );
        assert!(lines(&legacy(&none)).contains(&"memory.limit_in_bytes=-1".to_owned()));
    }

    #[test]
    fn of_no_process_at_all_there_is_one() {
        let none = resources(r#"{"pids": {"limit": 0}}"#);
        assert_eq!(lines(&unified(&none).unwrap()), ["pids.max=1"]);
        assert_eq!(lines(&legacy(&none)), ["pids.max=1"]);
    }

    #[test]
    fn without_a_limit_of_memory_there_is_none_of_memory_and_swap() {
        let none = resources(r#"{"memory": {"limit": -1}}"#);
        assert_eq!(
            lines(&legacy(&none)),
            ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"]
        );
        assert_eq!(lines(&unified(&none).unwrap()), ["memory.swap.max=max", "memory.max=max"]);
    }

    #[test]
    fn swap_without_memory_is_refused_in_version_2() {
        for wrong in [r#"{"memory":{"swap":5}}"#, r#"{"memory":{"swap":5,"limit":6}}"#] {
            assert!(unified(&resources(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn named_files_are_limits_and_nothing_else() {
        let of = |file: &str| named(&resources(&format!(r#"{{"unified": {{"{file}": "1"}}}}"#)));
        assert!(of("memory.high").is_ok());
        for file in ["cgroup.procs", "cgroup.kill", "../memory.max", "tasks"] {
            assert!(of(file).is_err(), "{file}");
        }
    }
}
