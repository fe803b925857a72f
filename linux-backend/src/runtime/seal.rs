//! Keeping this program's file from its containers (CVE-2019-5736): a process that is about to become
//! a container's runs it, and with `#!/proc/self/exe` as that container's program its file would be
//! open to it.

use std::{
    ffi::OsString,
    os::fd::{AsFd as _, OwnedFd},
    os::unix::ffi::OsStringExt as _,
};

use rustix::{
    fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags},
    io::Errno,
    mount::OpenTreeFlags,
};

use super::{Error, Result, text::c_text};
use crate::sys::{self, Attributes, MountChange, Strings};

/// Runs this program again from where its file cannot be written, with `args` and `env`, unless that is
/// where it runs from. Returns only then, and on failure.
pub fn seal(args: Vec<OsString>, env: Vec<(OsString, OsString)>) -> Result<()> {
    const PROGRAM: &str = "/proc/self/exe";
    let failed = || Error::step("keep this program's file from the container");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = rustix::fs::open(PROGRAM, flags, Mode::empty()).map_err(failed())?;
    if is_sealed(&own).map_err(failed())? {
        return Ok(());
    }
    let sealed = read_only_mount().or_else(|_| copy(&own)).map_err(failed())?;
    let strings = |texts: Vec<OsString>| -> Result<Strings> {
        Ok(Strings::new(texts.into_iter().map(|it| c_text(it.into_vec())).collect::<Result<_>>()?))
    };
    let variable =
        |(name, value): (OsString, OsString)| [name, value].join(std::ffi::OsStr::new("="));
    let env = env.into_iter().map(variable).collect();
    let errno = sys::execute_descriptor(sealed.as_fd(), &strings(args)?, &strings(env)?);
    Err(failed()(errno))
}

/// Whether a file can be changed by nobody who has it open.
fn is_sealed(file: &OwnedFd) -> Result<bool, Errno> {
    if rustix::fs::fstatvfs(file)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(true);
    }
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK;
    Ok(rustix::fs::fcntl_get_seals(file).is_ok_and(|found| found.contains(seals)))
}

/// A mount of the file alone, read-only and attached nowhere: nobody can mount it again.
fn read_only_mount() -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let program = rustix::fs::readlink("/proc/self/exe", Vec::new())?;
    let mount = rustix::mount::open_tree(CWD, program, flags)?;
    let change = MountChange { set: Attributes::READ_ONLY, ..MountChange::default() };
    sys::change_mount(mount.as_fd(), change, false)?;
    Ok(mount)
}

/// A copy in memory that can be changed no more.
fn copy(own: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create("silo", flags)?;
    loop {
        if rustix::fs::sendfile(&memory, own, None, 1 << 30)? == 0 {
            break;
        }
    }
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memory, seals)?;
    Ok(memory)
}
