//! What the parent does for a container's first process that is in a new user namespace.

use std::{
    fs::{self, File},
    io::{self, Seek as _},
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::{
    fs::{AtFlags, CWD, Gid, MemfdFlags, Mode, OFlags, ResolveFlags, Uid},
    io::Errno,
    mount::OpenTreeFlags,
    process::Pid,
    time::Timespec,
};
use silo_layers::copy::{CopyIn, CopyOut, GuestFiles as _, LiveTree, Source};

use super::{ContainerPlan, MountIds, MountPlan};
use crate::{
    child::{clone_tree, open_bundle_source},
    plan::{IdMap, Namespaces},
    protocol::{At as _, Broken, Failure, Setup, Step},
    sys::{self, Attributes, Cloned, MountChange, Where},
};

/// `MS_PRIVATE` of mount(2).
const PRIVATE: u32 = 1 << 18;

/// Does what `plan` says of the child `pid`, which waits for it.
pub(super) fn help(plan: &ContainerPlan, pid: i32, setup: &Setup) -> Result<(), Broken> {
    raise_limits(plan, pid).map_err(Broken::Failed)?;
    if !plan.id_maps.is_empty() {
        map_ids(plan, pid).map_err(Broken::Failed)?;
        setup.give(None)?;
    }
    if plan.root.outside {
        let root = clone_tree(CWD, &plan.root.path, OpenTreeFlags::AT_RECURSIVE)
            .at(Step::AttachRoot, 1)
            .map_err(Broken::Failed)?;
        give(&root, 0, setup)?;
    }
    for (index, mount) in plan.mounts.iter().enumerate().filter(|(_, mount)| mount.outside) {
        let opened = open_bundle_source(mount, index).map_err(Broken::Failed)?;
        if mount.copy_up {
            let copied = copy_up(plan, mount, &opened);
            copied
                .map_err(|error| errno(&error))
                .at(Step::CopyUp, index)
                .map_err(Broken::Failed)?;
        }
        if let Some(ids) = &mount.ids {
            map_files(ids, &opened, pid).at(Step::MapMountIds, index).map_err(Broken::Failed)?;
        }
        give(&opened, index, setup)?;
    }
    Ok(())
}

/// Maps the ids of a mount's files: as those of the container `pid`, or by maps of its own.
fn map_files(ids: &MountIds, mount: &OwnedFd, pid: i32) -> Result<(), Errno> {
    let own;
    let users = if ids.maps.is_empty() {
        open_users(pid)?
    } else {
        own = Users::with(&ids.maps)?;
        open_users(own.0.pid)?
    };
    sys::map_ids(mount.as_fd(), Attributes::default(), ids.recursive, users.as_fd())
}

fn open_users(pid: i32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(format!("/proc/{pid}/ns/user"), flags, Mode::empty())
}

/// A process in a user namespace with maps of its own, which is what a mount takes them from. It does
/// nothing, and ends with this.
struct Users(Cloned);

impl Users {
    fn with(maps: &[IdMap]) -> Result<Self, Errno> {
        let place = Where::Child { namespaces: Namespaces::USER.0, cgroup: None };
        let sleep = || loop {
            let _ = rustix::thread::nanosleep(&Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        };
        let users = Self(sys::clone(place, sleep)?);
        for map in maps {
            write(users.0.pid, map.file, &map.content)?;
        }
        Ok(users)
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        // It is this process's own, and ends whatever becomes of it.
        let _ = sys::send_signal(self.0.pidfd.as_fd(), 9);
        let _ = super::wait(self.0.pidfd.as_fd());
    }
}

/// Has the new file system `mount` begin with what its place in the root holds.
fn copy_up(plan: &ContainerPlan, mount: &MountPlan, into: &OwnedFd) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(&plan.root.path, flags, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let place = rustix::fs::openat2(&root, mount.target.as_c_str(), flags, Mode::empty(), resolve)?;
    let stat = rustix::fs::fstat(place)?;
    let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    let memory = rustix::fs::memfd_create("copy", MemfdFlags::CLOEXEC)?;
    let mut archive = File::from(memory);
    // The content of the directory, not itself (docker-cp(1)).
    let from = format!("/{}/.", mount.target.to_string_lossy());
    let how = CopyOut { follow: true, owners: true };
    LiveTree::new(root.into(), &[]).copy_out(&from, how, &mut archive).map_err(io::Error::other)?;
    archive.rewind()?;
    let into = rustix::fs::openat(into, c".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mount_root = into.try_clone()?;
    let what = CopyIn { source: Some(Source::named(&from, true)), owners: true };
    let tree = LiveTree::new(into.into(), &[]);
    tree.copy_in(&mut archive, "/", &what).map_err(io::Error::other)?;
    // It is whose the directory is that it covers.
    rustix::fs::chownat(&mount_root, c".", owner.0, owner.1, AtFlags::empty())?;
    Ok(())
}

/// Hands a mount over. What is mounted in it later is no matter of the host's.
fn give(mount: &OwnedFd, index: usize, setup: &Setup) -> Result<(), Broken> {
    let private = MountChange { propagation: PRIVATE, ..MountChange::default() };
    sys::change_mount(mount.as_fd(), private, true)
        .at(Step::SetMount, index)
        .map_err(Broken::Failed)?;
    setup.give(Some(mount.as_fd()))
}

fn map_ids(plan: &ContainerPlan, pid: i32) -> Result<(), Failure> {
    for (index, map) in plan.id_maps.iter().enumerate() {
        write(pid, map.file, &map.content).at(Step::MapIds, index)?;
    }
    Ok(())
}

/// Raises the child's limits, which itself may not. It lowers them when it needs no more.
fn raise_limits(plan: &ContainerPlan, pid: i32) -> Result<(), Failure> {
    for (index, limit) in plan.process.limits.iter().enumerate() {
        if let Some(raised) = limit.raised() {
            rustix::process::prlimit(Pid::from_raw(pid), limit.resource, raised)
                .at(Step::SetLimit, index)?;
        }
    }
    match &plan.process.oom_score_adj {
        Some(score) => write(pid, "oom_score_adj", score).at(Step::SetOomScore, 0),
        None => Ok(()),
    }
}

fn write(pid: i32, file: &str, content: &str) -> Result<(), Errno> {
    fs::write(format!("/proc/{pid}/{file}"), content).map_err(|error| errno(&error))
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
