//! Limits on the command line.

use std::collections::BTreeMap;

use clap::Args;
use silo_isolation::{Ceiling, DeviceRate, Limits, Throttle, Ulimit};

use crate::{
    format,
    values::{self, PidsLimit, Rate},
};

/// The limits of new containers that `update` changes, too. As in Docker, 0 asks for nothing.
#[derive(Clone, Debug, Args)]
pub(crate) struct LimitArgs {
    /// Limit memory, for example 64m
    #[arg(short, long, value_name = "SIZE", value_parser = format::parse_size)]
    memory: Option<u64>,
    /// What others short of memory leave the container
    #[arg(long, value_name = "SIZE", value_parser = format::parse_size)]
    memory_reservation: Option<u64>,
    /// Limit memory and swap together; -1 for all swap. Without it a limit of memory allows no swap
    #[arg(long, value_name = "SIZE", value_parser = values::swap, allow_hyphen_values = true)]
    memory_swap: Option<Ceiling>,
    /// Limit processor time, for example 0.5 or 2
    #[arg(long, value_name = "CORES", value_parser = values::cpus)]
    cpus: Option<u64>,
    /// Weigh processor time where it is short, 2 to 262144; other containers have 1024
    #[arg(short, long, value_name = "SHARES")]
    cpu_shares: Option<u64>,
    /// Deal a quota out per so many microseconds, 1000 to 1000000
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Limit processor time in a period (100000 by default); -1 for no limit
    #[arg(long, value_name = "MICROSECONDS", value_parser = values::quota, allow_hyphen_values = true)]
    cpu_quota: Option<Ceiling>,
    /// Run on these processors, for example 0-2,4
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Have memory of these nodes, for example 0,1
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Limit processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER", value_parser = values::pids_limit, allow_hyphen_values = true)]
    pids_limit: Option<PidsLimit>,
    /// Weigh input and output where disks are busy, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
}

impl LimitArgs {
    /// What is asked for.
    pub(crate) fn limits(&self) -> Limits {
        let some = |number: Option<u64>| number.filter(|&number| number > 0);
        let list = |list: &Option<String>| list.clone().filter(|list| !list.is_empty());
        Limits {
            memory: some(self.memory),
            memory_reservation: some(self.memory_reservation),
            memory_swap: self.memory_swap.filter(|&swap| swap != Ceiling::At(0)),
            nano_cpus: self.cpus,
            cpu_shares: some(self.cpu_shares),
            cpu_period: some(self.cpu_period),
            cpu_quota: self.cpu_quota.filter(|&quota| quota != Ceiling::At(0)),
            cpuset_cpus: list(&self.cpuset_cpus),
            cpuset_mems: list(&self.cpuset_mems),
            pids: self.pids_limit.map(|PidsLimit(limit)| limit),
            blkio_weight: self.blkio_weight.filter(|&weight| weight > 0),
            ..Limits::default()
        }
    }
}

/// The limits that only new containers take.
#[derive(Clone, Debug, Args)]
pub(crate) struct ResourceArgs {
    /// How readily memory is swapped out, 0 to 100 (cgroup v1)
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(value_parser = clap::value_parser!(i8).range(-1..=100))]
    memory_swappiness: Option<i8>,
    /// Let programs without memory wait for some instead of killing one (cgroup v1)
    #[arg(long)]
    oom_kill_disable: bool,
    /// Limit how many bytes a second are read from a device
    #[arg(long, value_name = "PATH:SIZE", value_parser = values::bytes_per_second)]
    device_read_bps: Vec<Rate>,
    /// Limit how many bytes a second are written to a device
    #[arg(long, value_name = "PATH:SIZE", value_parser = values::bytes_per_second)]
    device_write_bps: Vec<Rate>,
    /// Limit how often a second is read from a device
    #[arg(long, value_name = "PATH:NUMBER", value_parser = values::operations_per_second)]
    device_read_iops: Vec<Rate>,
    /// Limit how often a second is written to a device
    #[arg(long, value_name = "PATH:NUMBER", value_parser = values::operations_per_second)]
    device_write_iops: Vec<Rate>,
    /// Limit each process, for example nofile=1024:4096; -1 is no limit
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<Ulimit>,
    /// How soon the kernel kills the program when the host lacks memory, -1000 (never) to 1000
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    oom_score_adj: Option<i16>,
    /// Set what the container's kernel has of its own: net.*, kernel.shm*, kernel.msg*, kernel.sem,
    /// fs.mqueue.*
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::pair)]
    sysctl: Vec<(String, String)>,
    /// Limit what /dev/shm holds; by default 64m
    #[arg(long, value_name = "SIZE", value_parser = format::parse_size)]
    shm_size: Option<u64>,
}

impl ResourceArgs {
    /// `limits` and what is asked for here.
    pub(crate) fn limits(&self, limits: Limits) -> Limits {
        Limits {
            memory_swappiness: self.memory_swappiness.and_then(|percent| percent.try_into().ok()),
            oom_kill_disable: self.oom_kill_disable,
            device_rates: self.device_rates(),
            ulimits: self.ulimit.clone(),
            oom_score_adj: self.oom_score_adj,
            shm_size: self.shm_size.filter(|&size| size > 0),
            ..limits
        }
    }

    /// Settings of the container's kernel; of a name's values the last counts.
    pub(crate) fn sysctls(&self) -> BTreeMap<String, String> {
        self.sysctl.iter().cloned().collect()
    }

    fn device_rates(&self) -> Vec<DeviceRate> {
        let rates = |what: Throttle| match what {
            Throttle::ReadBps => &self.device_read_bps,
            Throttle::WriteBps => &self.device_write_bps,
            Throttle::ReadIops => &self.device_read_iops,
            Throttle::WriteIops => &self.device_write_iops,
        };
        let named = |what: Throttle| {
            let all = rates(what).iter();
            all.map(move |(path, rate)| DeviceRate { path: path.clone(), what, rate: *rate })
        };
        Throttle::ALL.into_iter().flat_map(named).collect()
    }
}
