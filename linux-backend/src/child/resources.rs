//! Limits of the process, and settings of the container's kernel.

use std::ffi::CStr;

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::{
    plan::{ProcessLimit, Sysctl},
    protocol::{At as _, Failure, Step},
};

/// Sets how soon the kernel kills this process and its children for want of memory. The host's
/// /proc must be there, and this process its own: once it is hidden, the file is root's.
pub(super) fn set_oom_score(score: Option<&str>) -> Result<(), Failure> {
    let Some(score) = score else { return Ok(()) };
    write(c"/proc/self/oom_score_adj", score).at(Step::SetOomScore, 0)
}

/// Writes the settings of this process's namespaces, which /proc/sys shows of the host's, too.
pub(super) fn set_sysctls(sysctls: &[Sysctl]) -> Result<(), Failure> {
    for (index, sysctl) in sysctls.iter().enumerate() {
        write(&sysctl.file, &sysctl.value).at(Step::SetSysctl, index)?;
    }
    Ok(())
}

/// Raises the limits of this process as high as the program's are to be.
pub(super) fn raise(limits: &[ProcessLimit]) -> Result<(), Failure> {
    for (index, limit) in limits.iter().enumerate() {
        if let Some(raised) = limit.raised() {
            rustix::process::setrlimit(limit.resource, raised).at(Step::SetLimit, index)?;
        }
    }
    Ok(())
}

/// Limits this process, as long as it may raise hard limits if at all.
pub(super) fn limit(limits: &[ProcessLimit]) -> Result<(), Failure> {
    for (index, limit) in limits.iter().enumerate() {
        rustix::process::setrlimit(limit.resource, limit.limit).at(Step::SetLimit, index)?;
    }
    Ok(())
}

fn write(file: &CStr, value: &str) -> Result<(), Errno> {
    let file = rustix::fs::open(file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, value.as_bytes()).map(drop)
}
