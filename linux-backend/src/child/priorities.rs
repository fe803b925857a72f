//! Priorities of the process, and the processors that it runs on.

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::{
    plan::Priorities,
    protocol::{At as _, Failure, Step},
    sys,
};

/// Takes the priorities, as long as what may raise them is there.
pub(super) fn take(priorities: &Priorities) -> Result<(), Failure> {
    if let Some(scheduling) = &priorities.scheduling {
        sys::set_scheduling(scheduling).at(Step::SetPriority, 0)?;
    }
    if let Some(priority) = priorities.io {
        sys::set_io_priority(priority).at(Step::SetPriority, 1)?;
    }
    match &priorities.memory {
        Some(policy) => sys::set_memory_policy(policy).at(Step::SetMemoryPolicy, 0),
        None => Ok(()),
    }
}

/// Runs on these processors alone from now on.
pub(super) fn stay_on(processors: Option<&CpuSet>) -> Result<(), Failure> {
    match processors {
        Some(processors) => sched_setaffinity(None, processors).at(Step::SetPriority, 2),
        None => Ok(()),
    }
}
