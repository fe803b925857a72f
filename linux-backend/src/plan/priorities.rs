//! What a process is given before others, and where it runs.

use rustix::thread::CpuSet;

use crate::sys::{MemoryPolicy, Scheduling};

/// The priorities of a process; what is not asked for stays as the engine's own.
#[derive(Debug, Default)]
pub(crate) struct Priorities {
    pub(crate) scheduling: Option<Scheduling>,
    /// A class in the upper three bits of sixteen, and a level (`ioprio_set(2)`).
    pub(crate) io: Option<i32>,
    /// Which nodes its memory is of.
    pub(crate) memory: Option<MemoryPolicy>,
    /// The processors that it may run on as it joins its cgroup, and those from then on.
    pub(crate) joining: Option<CpuSet>,
    pub(crate) joined: Option<CpuSet>,
}
