//! How a process is scheduled, what its input and output come before, and the processors that it runs on
//! (config.md, "Linux Process").

use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxSchedulerFlag, LinuxSchedulerPolicy, Process, Scheduler,
};
use rustix::thread::CpuSet;

use super::{Error, Result};
use crate::{plan::Priorities, sys::Scheduling};

/// The priorities of `process`. It runs on all processors that its cgroup has, wherever the one who
/// starts it may run.
pub(super) fn priorities(process: &Process, further: bool) -> Result<Priorities> {
    let affinity = process.exec_cpu_affinity().as_ref().filter(|_| further);
    let set = |list: Option<&String>| list.map(|list| processors(list)).transpose();
    let joining = set(affinity.and_then(|it| it.initial().as_ref()))?;
    let joined = set(affinity.and_then(|it| it.cpu_affinity_final().as_ref()))?;
    Ok(Priorities {
        scheduling: process.scheduler().as_ref().map(scheduling).transpose()?,
        io: process.io_priority().as_ref().map(io).transpose()?,
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
    let wrong =
        || Error::config("process.execCPUAffinity", format!("`{list}` is no list of processors"));
    let mut set = CpuSet::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            let number: usize = text.trim().parse().map_err(|_| wrong())?;
            if number < CpuSet::MAX_CPU { Ok(number) } else { Err(wrong()) }
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong());
        }
        (first..=last).for_each(|processor| set.set(processor));
    }
    if set.count() == 0 { Err(wrong()) } else { Ok(set) }
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
    fn input_and_output_have_a_class_and_a_level() {
        let of = |level: i64| {
            let json = format!(r#"{{"class": "IOPRIO_CLASS_IDLE", "priority": {level}}}"#);
            io(&serde_json::from_str(&json).unwrap())
        };
        assert_eq!(of(4).unwrap(), 0x6004);
        assert!(of(8).is_err() && of(-1).is_err());
    }
}
