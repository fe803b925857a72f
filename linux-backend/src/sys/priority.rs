//! Scheduling and input/output priorities.

use rustix::io::Errno;

use super::check;

/// How a process is scheduled: `struct sched_attr` (`sched_setattr(2)`), which this is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Scheduling {
    pub(crate) size: u32,
    pub(crate) policy: u32,
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    pub(crate) runtime: u64,
    pub(crate) deadline: u64,
    pub(crate) period: u64,
}

impl Scheduling {
    /// As much of the structure as there was first, which every kernel takes.
    #[allow(clippy::cast_possible_truncation)] // 48
    pub(crate) const SIZE: u32 = size_of::<Self>() as u32;
}

/// Schedules this process so.
pub(crate) fn set_scheduling(scheduling: &Scheduling) -> Result<(), Errno> {
    // SAFETY: the structure is as large as its first field says, outlives the call and is only read.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *scheduling, 0) };
    check(result).map(drop)
}

/// Which nodes memory is taken from (`set_mempolicy(2)`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryPolicy {
    /// `MPOL_*`, and flags of it.
    pub(crate) mode: u32,
    /// A bit for each node.
    pub(crate) nodes: Vec<u64>,
}

/// Has this process's memory be of those nodes from now on, and that of its programs.
pub(crate) fn set_memory_policy(policy: &MemoryPolicy) -> Result<(), Errno> {
    // One more than there are: the kernel takes one off.
    let bits = policy.nodes.len() * 64 + 1;
    // SAFETY: there are as many bits as the last argument says but one, and they are only read.
    let result =
        unsafe { libc::syscall(libc::SYS_set_mempolicy, policy.mode, policy.nodes.as_ptr(), bits) };
    check(result).map(drop)
}

/// Sets the priority of this process's input and output: a class and a level of it
/// (`ioprio_set(2)`).
pub(crate) fn set_io_priority(priority: i32) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: all three are numbers; process 0 is this one.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority) };
    check(result).map(drop)
}
