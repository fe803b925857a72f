//! How a process is scheduled, what its input and output come before, and the processors that it runs on
//! (config.md, "Linux Process").

use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxSchedulerFlag, LinuxSchedulerPolicy,
    Process, Scheduler,
};
use rustix::thread::CpuSet;
use serde_json::Value;

use super::{Error, Result};
use crate::{
    plan::Priorities,
    sys::{MemoryPolicy, Scheduling},
};

/// The priorities of `process`. It runs on all processors that its cgroup has, wherever the one who
/// starts it may run.
pub(super) fn priorities(
    process: &Process,
    memory: Option<&LinuxMemoryPolicy>,
    further: bool,
) -> Result<Priorities> {
    let affinity = process.exec_cpu_affinity().as_ref().filter(|_| further);
    let set = |list: Option<&String>| list.map(|list| processors(list)).transpose();
    let joining = set(affinity.and_then(|it| it.initial().as_ref()))?;
    let joined = set(affinity.and_then(|it| it.cpu_affinity_final().as_ref()))?;
    Ok(Priorities {
        scheduling: process.scheduler().as_ref().map(scheduling).transpose()?,
        io: process.io_priority().as_ref().map(io).transpose()?,
        memory: memory.map(memory_policy).transpose()?,
        joined: joined.or_else(|| joining.is_none().then(all)),
        joining,
    })
}

fn all() -> CpuSet {
    let mut set = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|processor| set.set(processor));
    set
}

/// A list of processors, such as `0-3,7`.
fn processors(list: &str) -> Result<CpuSet> {
    let numbers = numbers(list).filter(|numbers| !numbers.is_empty()).ok_or_else(|| {
        Error::config("process.execCPUAffinity", format!("`{list}` is no list of processors"))
    })?;
    let mut set = CpuSet::new();
    for processor in numbers {
        set.set(processor);
    }
    Ok(set)
}

/// The numbers of a list, such as `0-3,7`: of processors, or of nodes, which are fewer.
fn numbers(list: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            text.trim().parse().ok().filter(|number: &usize| *number < CpuSet::MAX_CPU)
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

const MEMORY: &str = "linux.memoryPolicy";
/// `MPOL_*` of linux/mempolicy.h.
pub(super) const MEMORY_MODES: [(&str, u32); 7] = [
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];
/// `MPOL_F_*`.
pub(super) const MEMORY_FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_STATIC_NODES", 1 << 15),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
];

/// Refuses words of a configuration's memory policy that nobody knows, before it is read as one.
pub(super) fn check_memory_policy(config: &Value) -> Result<()> {
    let Some(policy) = config.pointer("/linux/memoryPolicy").filter(|policy| !policy.is_null())
    else {
        return Ok(());
    };
    let is_of = |word: &str, known: &[(&str, u32)]| known.iter().any(|(name, _)| *name == word);
    let mode = policy.get("mode").and_then(Value::as_str).unwrap_or_default();
    if !is_of(mode, &MEMORY_MODES) {
        return Err(Error::config(MEMORY, format!("invalid memory policy mode `{mode}`")));
    }
    let flags = policy.get("flags").and_then(Value::as_array).into_iter().flatten();
    let unknown = flags.filter_map(Value::as_str).find(|flag| !is_of(flag, &MEMORY_FLAGS));
    match unknown {
        Some(flag) => Err(Error::config(MEMORY, format!("invalid memory policy flag `{flag}`"))),
        None => Ok(()),
    }
}

fn memory_policy(policy: &LinuxMemoryPolicy) -> Result<MemoryPolicy> {
    let value = |word: &str, known: &[(&str, u32)]| {
        known.iter().find(|(name, _)| *name == word).map_or(0, |&(_, value)| value)
    };
    let name = policy.mode().to_string();
    let list = policy.nodes().as_deref().unwrap_or_default();
    let numbers = numbers(list).ok_or_else(|| {
        Error::config(MEMORY, format!("invalid memory policy nodes `{list}`: that is no list"))
    })?;
    match (name.as_str(), numbers.is_empty()) {
        ("MPOL_DEFAULT" | "MPOL_LOCAL", false) => {
            let why = format!("{name}: mode requires 0 nodes but got {}", numbers.len());
            return Err(Error::config(MEMORY, why));
        }
        ("MPOL_DEFAULT" | "MPOL_LOCAL" | "MPOL_PREFERRED", _) | (_, false) => {}
        (_, true) => {
            let why = format!("{name}: mode requires at least one node but got 0");
            return Err(Error::config(MEMORY, why));
        }
    }
    let flags = policy.flags().iter().flatten();
    let flags = flags.map(|flag| value(&flag.to_string(), &MEMORY_FLAGS));
    let mode = flags.fold(value(&name, &MEMORY_MODES), |mode, flag| mode | flag);
    let mut nodes = vec![0; numbers.iter().max().map_or(0, |last| last / 64 + 1)];
    for number in numbers {
        if let Some(word) = nodes.get_mut(number / 64) {
            *word |= 1u64 << (number % 64);
        }
    }
    Ok(MemoryPolicy { mode, nodes })
}

fn io(priority: &LinuxIOPriority) -> Result<i32> {
    let class = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level = i32::try_from(priority.priority()).ok().filter(|level| (0..8).contains(level));
    let level = level.ok_or_else(|| {
        let why = format!("{} is none of the levels 0 to 7", priority.priority());
        Error::config("process.ioPriority", why)
    })?;
    Ok(class << 13 | level)
}

fn scheduling(scheduler: &Scheduler) -> Result<Scheduling> {
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let flag = |flag: &LinuxSchedulerFlag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x1,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x2,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x4,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x8,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    };
    let priority = scheduler.priority().unwrap_or(0);
    let wrong = || Error::config("process.scheduler.priority", format!("{priority} is below 0"));
    Ok(Scheduling {
        size: Scheduling::SIZE,
        policy,
        flags: scheduler.flags().iter().flatten().map(flag).fold(0, |all, one| all | one),
        nice: scheduler.nice().unwrap_or(0),
        priority: u32::try_from(priority).map_err(|_| wrong())?,
        runtime: scheduler.runtime().unwrap_or(0),
        deadline: scheduler.deadline().unwrap_or(0),
        period: scheduler.period().unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_sets() {
        let of = |list: &str| {
            let set = processors(list).unwrap();
            (0..16).filter(|&processor| set.is_set(processor)).collect::<Vec<_>>()
        };
        assert_eq!(of("0-2,7"), [0, 1, 2, 7]);
        assert_eq!(of("3, 1-1"), [1, 3]);
        for wrong in ["", "x", "2-1", "-1", "1-", "100000"] {
            assert!(processors(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn memory_is_of_nodes() {
        let of = |json: &str| memory_policy(&serde_json::from_str(json).unwrap());
        let bind =
            of(r#"{"mode": "MPOL_BIND", "nodes": "0,65", "flags": ["MPOL_F_STATIC_NODES"]}"#);
        assert_eq!(bind.unwrap(), MemoryPolicy { mode: 0x8002, nodes: vec![1, 2] });
        let local = MemoryPolicy { mode: 4, nodes: Vec::new() };
        assert_eq!(of(r#"{"mode": "MPOL_LOCAL"}"#).unwrap(), local);
        for wrong in [
            r#"{"mode": "MPOL_BIND"}"#,
            r#"{"mode": "MPOL_DEFAULT", "nodes": "0"}"#,
            r#"{"mode": "MPOL_BIND", "nodes": "x"}"#,
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        let checked = |policy: &str| {
            let config = format!(r#"{{"linux": {{"memoryPolicy": {policy}}}}}"#);
            check_memory_policy(&serde_json::from_str(&config).unwrap())
        };
        assert!(checked(r#"{"mode": "MPOL_BIND"}"#).is_ok());
        assert!(checked("null").is_ok());
        for wrong in ["{}", r#"{"mode": "BIND"}"#, r#"{"mode": "MPOL_BIND", "flags": ["x"]}"#] {
            let told = checked(wrong).unwrap_err().to_string();
            assert!(told.contains("invalid memory policy"), "{told}");
        }
    }

    #[test]
    fn input_and_output_have_a_class_and_a_level() {
        let of = |level: i64| {
            let json = format!(r#"{{"class": "IOPRIO_CLASS_IDLE", "priority": {level}}}"#);
            io(&serde_json::from_str(&json).unwrap())
        };
        assert_eq!(of(4).unwrap(), 0x6004);
        assert!(of(8).is_err() && of(-1).is_err());
    }
}
