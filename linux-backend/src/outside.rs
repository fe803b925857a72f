//! What the parent does for a child in a user namespace: it has rights over the host that the child
//! has not.
//!
//! It maps the ids, and with them those of files: whoever is 0 inside owns what is 0's on disk, and
//! nothing on disk has the ids that the container has outside (`mount_setattr(2)`, Linux 5.12;
//! overlayfs over mapped layers, 5.19). It hands the mounts over before they are attached anywhere.

use std::{
    ffi::CStr,
    fs,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    mount::{FsOpenFlags, OpenTreeFlags},
    process::Pid,
};

use crate::{
    child::{Mounting, add_options, clone_tree, detached, make_devices, open_source},
    guest::Guest,
    plan::{Anchor, IdMap, MountPlan, Plan, ProcessPlan, RootPlan, Source},
    protocol::{self, At as _, Broken, Failure, Setup, Step},
    sys::{self, Attributes, Where},
};

/// Does what `plan` says of the child `pid`, which waits for it.
pub(crate) fn help(plan: &Plan, pid: i32, setup: &Setup) -> Result<(), Broken> {
    if plan.id_maps.is_empty() {
        return Ok(());
    }
    map_ids(&plan.id_maps, pid).map_err(Broken::Failed)?;
    raise_limits(&plan.process, pid).map_err(Broken::Failed)?;
    setup.give(None)?;
    let Some(first) = plan.root.outside else { return Ok(()) };
    let users = open_users(pid).at(Step::MapIds, plan.id_maps.len()).map_err(Broken::Failed)?;
    let root = mount_root(&plan.root, first, users.as_fd())?;
    setup.give(Some(root.as_fd()))?;
    for (index, mount) in plan.mounts.iter().chain(&plan.late_mounts).enumerate() {
        if mount.outside {
            let mount = if mount.becomes == Some(Anchor::Dev) {
                mount_dev(plan, mount, index, first)
            } else {
                open_mount(mount, index, users.as_fd())
            };
            setup.give(Some(mount.map_err(Broken::Failed)?.as_fd()))?;
        }
    }
    Ok(())
}

fn map_ids(maps: &[IdMap], pid: i32) -> Result<(), Failure> {
    for (index, map) in maps.iter().enumerate() {
        let written = fs::write(format!("/proc/{pid}/{}", map.file), &map.content);
        written.map_err(|error| errno(&error)).at(Step::MapIds, index)?;
    }
    Ok(())
}

/// Raises the child's limits, which itself may not. It lowers them when it needs no more.
fn raise_limits(process: &ProcessPlan, pid: i32) -> Result<(), Failure> {
    for (index, limit) in process.limits.iter().enumerate() {
        if let Some(raised) = limit.raised() {
            rustix::process::prlimit(Pid::from_raw(pid), limit.resource, raised)
                .at(Step::SetLimit, index)?;
        }
    }
    if let Some(score) = &process.oom_score_adj {
        let written = fs::write(format!("/proc/{pid}/oom_score_adj"), score);
        written.map_err(|error| errno(&error)).at(Step::SetOomScore, 0)?;
    }
    Ok(())
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn open_users(pid: i32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(format!("/proc/{pid}/ns/user"), flags, Mode::empty())
}

/// Mounts the snapshot as overlayfs over layers whose ids are mapped, as one who has a mapped id:
/// overlayfs makes what it needs itself as whoever mounts it.
fn mount_root(plan: &RootPlan, first: u32, users: BorrowedFd<'_>) -> Result<OwnedFd, Broken> {
    let mapped = clone_mapped(&plan.base, Attributes::default(), users).at(Step::EnterStore, 1);
    let base = mapped.map_err(Broken::Failed)?;
    let mount = || mount_by_handle(plan, base.as_fd());
    match sys::acting_on_files_as(first, mount).at(Step::SetUser, 1) {
        // Before Linux 6.13.
        Ok(Err(Failure { step: Step::AddLayer, index: 0, errno: Errno::INVAL | Errno::BADF })) => {
            mount_by_name(plan, first, base.as_fd())
        }
        Ok(mounted) => mounted.map_err(Broken::Failed),
        Err(failure) => Err(Broken::Failed(failure)),
    }
}

/// Has a helper mount it: names are looked up only in what is attached, and from where a process is.
fn mount_by_name(plan: &RootPlan, first: u32, base: BorrowedFd<'_>) -> Result<OwnedFd, Broken> {
    let (helping, end) = protocol::connect_helper().map_err(Broken::Socket)?;
    let mounting = Mounting { plan, base, first, end: &end };
    let helper = sys::clone(Where::Helper, || mounting.run())
        .at(Step::MountOverlay, 2)
        .map_err(Broken::Failed)?;
    // Until it has ended, the helper uses this process's descriptors.
    let ended = Guest::new(helper, String::new(), None).wait();
    drop(end);
    ended.map_err(|_| Broken::Silent)?;
    helping.made().map(sys::adopt)
}

fn mount_by_handle(plan: &RootPlan, base: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    let overlay =
        rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).at(Step::OpenOverlay, 0)?;
    let add = |key: &CStr, path: &CStr| {
        // Not as a mere path: of those fsconfig(2) has known for a shorter time.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let layer = rustix::fs::openat(base, path, flags, Mode::empty())?;
        rustix::mount::fsconfig_set_fd(&overlay, key, &layer)
    };
    for (index, lower) in plan.lowers.iter().enumerate() {
        add(c"lowerdir+", lower).at(Step::AddLayer, index)?;
    }
    add(c"upperdir", &plan.upper).at(Step::SetOverlay, 0)?;
    add(c"workdir", &plan.work).at(Step::SetOverlay, 0)?;
    add_options(plan, overlay.as_fd())?;
    rustix::mount::fsconfig_create(&overlay).at(Step::MountOverlay, 0)?;
    detached(overlay.as_fd(), plan.attributes).at(Step::MountOverlay, 1)
}

/// Mounts /dev as who is root inside, with the nodes that are made in it: those open only where its
/// mounter may make such.
fn mount_dev(plan: &Plan, dev: &MountPlan, index: usize, first: u32) -> Result<OwnedFd, Failure> {
    let mount = || {
        let mounted = open_source(dev, index)?;
        make_devices(&plan.devices, mounted.as_fd()).map(|()| mounted)
    };
    sys::acting_on_files_as(first, mount).at(Step::SetUser, 1)?
}

/// A mount that the child takes over. The kernel's own file systems have no ids to map: what is
/// root's in them stays out of the container's reach.
fn open_mount(plan: &MountPlan, index: usize, users: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    let Source::Tree { path } = &plan.source else { return open_source(plan, index) };
    match clone_mapped(path, plan.attributes, users) {
        Err(Errno::INVAL | Errno::PERM) => open_source(plan, index),
        mounted => mounted.at(Step::OpenMount, index),
    }
}

/// A mount of its own of what `path` shows, with ids as `users` has them. What is mounted
/// below keeps its own where that file system cannot map.
fn clone_mapped(
    path: &CStr,
    attributes: Attributes,
    users: BorrowedFd<'_>,
) -> Result<OwnedFd, Errno> {
    let tree = clone_tree(CWD, path, OpenTreeFlags::AT_RECURSIVE)?;
    match sys::map_ids(tree.as_fd(), attributes, true, users) {
        Err(Errno::INVAL | Errno::PERM) => {
            sys::map_ids(tree.as_fd(), attributes, false, users)?;
            sys::set_attributes(tree.as_fd(), attributes, true)?;
        }
        mapped => mapped?,
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use silo_isolation::Root;
    use silo_layers::{Digest, Lower, Snapshot};

    use super::*;
    use crate::{facts::IdSource, ids};

    const FIRST: u32 = 0x6000_0000;

    /// A process in a user namespace of its own that has a range of ids.
    fn somebody() -> Guest {
        let place = Where::Child { namespaces: 0x1000_0000, cgroup: None };
        let sleeping = || loop {
            let _ = rustix::thread::nanosleep(&rustix::time::Timespec { tv_sec: 1000, tv_nsec: 0 });
        };
        let cloned = sys::clone(place, sleeping).unwrap();
        let map = |file| IdMap { file, content: format!("0 {FIRST} {}", ids::SIZE) };
        map_ids(&[map("uid_map"), map("gid_map")], cloned.pid).unwrap();
        Guest::new(cloned, String::new(), None)
    }

    /// A file in the layer, seen through the mounted root, and one made there.
    fn look(root: &OwnedFd, upper: &std::path::Path) {
        let flags = rustix::fs::AtFlags::empty();
        let seen = rustix::fs::statat(root, c"greeting", flags).unwrap();
        assert_eq!((seen.st_uid, seen.st_gid), (FIRST, FIRST));
        let create = OFlags::CREATE | OFlags::WRONLY;
        sys::acting_on_files_as(FIRST, || {
            rustix::fs::openat(root, c"made", create, 0o644.into()).unwrap();
            rustix::fs::unlinkat(root, c"greeting", flags).unwrap();
        })
        .unwrap();
        let made = fs::metadata(upper.join("made")).unwrap();
        assert_eq!((made.uid(), made.gid()), (0, 0));
        assert_eq!(fs::metadata(upper.join("greeting")).unwrap().rdev(), 0);
    }

    /// Has what is mounted in a directory be seen in copies of it, as systemd has everywhere.
    fn share(directory: &std::path::Path) {
        use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
        sys::unshare(crate::plan::Namespaces::MOUNT.0).unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        mount("none", directory, "tmpfs", MountFlags::empty(), None).unwrap();
        mount_change(directory, MountPropagationFlags::SHARED).unwrap();
    }

    #[test]
    fn a_root_is_mounted_alike_by_handles_and_by_names() {
        if !silo_layers::tree::is_privileged() {
            println!("skipped: only root maps ids");
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        share(scratch.path());
        let overlays = || {
            let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            mounts.matches(" - overlay ").count()
        };
        let before = overlays();
        let guest = somebody();
        let users = open_users(guest.pid()).unwrap();
        for by_name in [false, true] {
            let store = scratch.path().join(by_name.to_string());
            let [lower, upper, work] = ["lower", "upper", "work"].map(|name| store.join(name));
            for path in [&lower, &upper, &work] {
                fs::create_dir_all(path).unwrap();
            }
            fs::write(lower.join("greeting"), "hello").unwrap();
            let lowers = vec![Lower { diff_id: Digest::of(b"lower"), path: lower }];
            let snapshot = Snapshot { lowers, upper: upper.clone(), work };
            let root = Root { snapshot, readonly: false, volatile: by_name };
            let plan = RootPlan::new(&root, &store, IdSource::Range { first: FIRST }, true, false)
                .unwrap();
            let root = if by_name {
                let base = clone_mapped(&plan.base, Attributes::default(), users.as_fd()).unwrap();
                mount_by_name(&plan, FIRST, base.as_fd()).unwrap()
            } else {
                mount_root(&plan, FIRST, users.as_fd()).unwrap()
            };
            look(&root, &upper);
            assert_eq!(overlays(), before);
        }
    }
}
