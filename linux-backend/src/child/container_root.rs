//! The file systems of an OCI container: from the host's root to the bundle's.

use std::{
    ffi::CStr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
    mount::{FsOpenFlags, MountPropagationFlags, OpenTreeFlags, UnmountFlags},
};

use super::{
    hooks,
    process::{Streams, Terminal},
    root::{attach, attach_at, clone_tree, detached},
    target::{self, Kind},
};
use crate::{
    protocol::{At as _, ChildEnd, Failure, Step},
    runtime::{ContainerPlan, DevicePlan, LinkPlan, MountPlan, MountSource, RootDirectory},
    sys::{self, Attributes, MountChange},
};

const COVER: Attributes =
    Attributes::NO_SUID.and(Attributes::NO_DEV).and(Attributes::NO_EXEC).and(Attributes::READ_ONLY);
/// Of a device, which is no program.
const NO_PROGRAM: MountChange = MountChange {
    set: Attributes::NO_SUID.and(Attributes::NO_EXEC),
    clear: Attributes(0),
    propagation: 0,
};
/// `MS_SLAVE` of mount(2).
const SLAVE: u32 = 1 << 19;
const READ_ONLY: MountChange =
    MountChange { set: Attributes::READ_ONLY, clear: Attributes(0), propagation: 0 };

/// Mounts all that the plan has and makes the bundle's root that of this process. Gives the working
/// directory, and the terminal where one is asked for.
pub(super) fn enter(
    plan: &ContainerPlan,
    streams: Streams<'_>,
    end: &ChildEnd,
) -> Result<(OwnedFd, Option<Terminal>), Failure> {
    let root = take_root(&plan.root, end)?;
    for (index, mount) in plan.mounts.iter().enumerate() {
        add_mount(mount, root.as_fd(), index, end)?;
    }
    for (index, device) in plan.devices.iter().enumerate() {
        make_device(device, root.as_fd()).at(Step::MakeDevice, index)?;
    }
    for (index, link) in plan.links.iter().enumerate() {
        make_link(link, root.as_fd()).at(Step::MakeLink, index)?;
    }
    let terminal = match streams {
        Streams::Terminal(size) => {
            let owner = plan.process.identity.user;
            let terminal = Terminal::inside(root.as_fd(), size, owner)
                .and_then(|terminal| bind_console(plan, root.as_fd(), terminal));
            Some(terminal.at(Step::OpenTerminal, 0)?)
        }
        Streams::Pipes { .. } | Streams::Inherited => None,
    };
    for (index, path) in plan.sealed.iter().enumerate() {
        target::open(root.as_fd(), path)
            .and_then(|mount| sys::change_mount(mount.as_fd(), READ_ONLY, false))
            .at(Step::ReadOnly, plan.read_only.len() + index)?;
    }
    cover(plan, root.as_fd())?;
    let state = end.hooks().at(Step::RunHook, plan.create_hooks.len())?;
    // As runc: what they name is often the root's.
    rustix::process::fchdir(&root).at(Step::AttachRoot, 2)?;
    hooks::run(&plan.create_hooks, state.as_fd(), None)?;
    let directory =
        target::open_or_make(root.as_fd(), &plan.process.working_directory, Kind::Directory)
            .at(Step::WorkingDirectory, 0)?;
    if plan.root.read_only {
        sys::change_mount(root.as_fd(), READ_ONLY, false).at(Step::ReadOnlyRoot, 0)?;
    }
    change_root(&plan.root, root.as_fd()).at(Step::ChangeRoot, 0)?;
    if let Some(propagation) = plan.root.final_propagation {
        let flags = MountPropagationFlags::from_bits_retain(propagation);
        rustix::mount::mount_change(c"/", flags).at(Step::SetPropagation, 1)?;
    }
    Ok((directory, terminal))
}

/// Mounts the root in a place from where it can become that.
fn take_root(plan: &RootDirectory, end: &ChildEnd) -> Result<OwnedFd, Failure> {
    let propagation = MountPropagationFlags::from_bits_retain(plan.propagation);
    let whole = propagation | MountPropagationFlags::REC;
    rustix::mount::mount_change(c"/", whole).at(Step::PrivateMounts, 0)?;
    if plan.outside {
        let root = end.take().at(Step::AttachRoot, 1)?;
        let private = MountPropagationFlags::PRIVATE;
        rustix::mount::mount_change(c"/", private).at(Step::PrivateMounts, 1)?;
        attach_at(&root, CWD, c"/").at(Step::AttachRoot, 0)?;
        return Ok(root);
    }
    // A root that is to see what is mounted on the host stays what it was made above; others are not
    // shared, as none that becomes the root may be.
    let stays = plan.final_propagation.is_some_and(|flags| flags & plan.propagation & SLAVE != 0);
    if !stays {
        let private = MountPropagationFlags::PRIVATE;
        rustix::mount::mount_change(plan.mount.as_c_str(), private).at(Step::PrivateMounts, 1)?;
    }
    let root = clone_tree(CWD, &plan.path, OpenTreeFlags::AT_RECURSIVE).at(Step::AttachRoot, 1)?;
    attach_at(&root, CWD, &plan.path).at(Step::AttachRoot, 0)?;
    Ok(root)
}

fn add_mount(
    plan: &MountPlan,
    root: BorrowedFd<'_>,
    index: usize,
    end: &ChildEnd,
) -> Result<(), Failure> {
    if matches!(plan.source, MountSource::Again) {
        let place = target::open(root, &plan.target).at(Step::FindTarget, index)?;
        return change(plan, place.as_fd()).at(Step::SetMount, index);
    }
    let mount = match &plan.source {
        _ if plan.outside => end.take().at(Step::OpenMount, index)?,
        MountSource::Inside { path, recursive } => {
            open_inside(root, path, *recursive).at(Step::OpenMount, index)?
        }
        _ => open_source(plan, index)?,
    };
    let kind = kind_of(&mount).at(Step::OpenMount, index)?;
    let place = find_place(plan, root, kind).at(Step::FindTarget, index)?;
    attach(&mount, &place).at(Step::AttachMount, index)?;
    // Propagation last: nobody else is to see what is being mounted.
    change(plan, mount.as_fd()).at(Step::SetMount, index)
}

/// A tree of the container's own, as it is by now.
fn open_inside(root: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd, Errno> {
    let flags = if recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    clone_tree(target::open(root, path)?.as_fd(), c"", flags)
}

/// What a mount needs to be attached over.
fn kind_of(mount: &OwnedFd) -> Result<Kind, Errno> {
    let stat = rustix::fs::fstat(mount)?;
    Ok(Kind::new(FileType::from_raw_mode(stat.st_mode) == FileType::Directory))
}

fn find_place(plan: &MountPlan, root: BorrowedFd<'_>, kind: Kind) -> Result<OwnedFd, Errno> {
    const PROC_SUPER_MAGIC: i128 = 0x9fa0;
    let place = target::open_or_make(root, &plan.target, kind)?;
    if plan.kernels {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        return rustix::fs::openat2(root, plan.target.as_c_str(), flags, Mode::empty(), resolve);
    }
    // Where a link of the image leads into /proc.
    if !plan.into_proc && i128::from(rustix::fs::fstatfs(&place)?.f_type) == PROC_SUPER_MAGIC {
        return Err(Errno::PERM);
    }
    Ok(place)
}

fn change(plan: &MountPlan, mount: BorrowedFd<'_>) -> Result<(), Errno> {
    sys::change_mount(mount, plan.change, false)?;
    sys::change_mount(mount, plan.recursive, true)
}

/// The mount of `plan`, not attached anywhere yet.
pub(crate) fn open_source(plan: &MountPlan, index: usize) -> Result<OwnedFd, Failure> {
    match &plan.source {
        MountSource::New { kind, options } => {
            let fs = rustix::mount::fsopen(kind.as_c_str(), FsOpenFlags::FSOPEN_CLOEXEC)
                .at(Step::OpenMount, index)?;
            for (key, value) in options {
                let set = match value {
                    Some(value) => {
                        rustix::mount::fsconfig_set_string(&fs, key.as_c_str(), value.as_c_str())
                    }
                    None => rustix::mount::fsconfig_set_flag(&fs, key.as_c_str()),
                };
                set.at(Step::SetMount, index)?;
            }
            rustix::mount::fsconfig_create(&fs).at(Step::OpenMount, index)?;
            detached(fs.as_fd(), plan.change.set).at(Step::OpenMount, index)
        }
        MountSource::Tree { path, recursive } => {
            let flags =
                if *recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
            clone_tree(CWD, path, flags).at(Step::OpenMount, index)
        }
        MountSource::Again | MountSource::Inside { .. } => {
            Err(Errno::INVAL).at(Step::OpenMount, index)
        }
    }
}

/// Makes a device node, or where that is not permitted puts the host's in its place.
fn make_device(plan: &DevicePlan, root: BorrowedFd<'_>) -> Result<(), Errno> {
    let directory = target::open_or_make(root, &plan.directory, Kind::Directory)?;
    let name = plan.name.as_c_str();
    let made = rustix::fs::mknodat(&directory, name, plan.kind, plan.mode, plan.number);
    match made {
        Ok(()) => {
            let (user, group) = plan.owner;
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(&directory, name, Some(user), Some(group), flags)?;
            // What the umask took.
            rustix::fs::chmodat(&directory, name, plan.mode, AtFlags::empty())
        }
        Err(Errno::EXIST) => Ok(()),
        Err(Errno::PERM) => {
            let place = target::open_or_make(directory.as_fd(), name, Kind::File)?;
            let device = clone_tree(CWD, &plan.host, OpenTreeFlags::empty())?;
            sys::change_mount(device.as_fd(), NO_PROGRAM, false)?;
            attach(&device, &place)
        }
        Err(errno) => Err(errno),
    }
}

fn make_link(plan: &LinkPlan, root: BorrowedFd<'_>) -> Result<(), Errno> {
    let directory = target::open_or_make(root, &plan.directory, Kind::Directory)?;
    match rustix::fs::symlinkat(plan.target.as_c_str(), directory, plan.name.as_c_str()) {
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}

fn bind_console(
    plan: &ContainerPlan,
    root: BorrowedFd<'_>,
    terminal: Terminal,
) -> Result<Terminal, Errno> {
    if plan.console {
        terminal.bind_console(target::open(root, c"dev")?.as_fd())?;
    }
    Ok(terminal)
}

/// Covers what is masked with emptiness, and what is to be read only with itself.
fn cover(plan: &ContainerPlan, root: BorrowedFd<'_>) -> Result<(), Failure> {
    for (index, path) in plan.read_only.iter().enumerate() {
        make_read_only(root, path).at(Step::ReadOnly, index)?;
    }
    let mut blank = None;
    for (index, path) in plan.masked.iter().enumerate() {
        mask(root, path, &mut blank).at(Step::Mask, index)?;
    }
    Ok(())
}

/// What is at `path`; `None` where nothing is.
fn find(root: BorrowedFd<'_>, path: &CStr) -> Result<Option<OwnedFd>, Errno> {
    match target::open(root, path) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        found => found.map(Some),
    }
}

/// Covers what is at `path`: a file with the host's null, whose name nobody in the container has
/// chosen, a directory with an empty one, of which `directory` is the first.
fn mask(root: BorrowedFd<'_>, path: &CStr, directory: &mut Option<OwnedFd>) -> Result<(), Errno> {
    let Some(place) = find(root, path)? else { return Ok(()) };
    let null = clone_tree(CWD, c"/dev/null", OpenTreeFlags::empty())?;
    match (attach(&null, &place), &directory) {
        // No file covers a directory.
        (Err(Errno::INVAL | Errno::NOTDIR), Some(first)) => {
            attach(&clone_tree(first.as_fd(), c"", OpenTreeFlags::empty())?, &place)
        }
        (Err(Errno::INVAL | Errno::NOTDIR), None) => {
            attach(directory.insert(empty_directory()?), &place)
        }
        (attached, _) => attached,
    }
}

fn empty_directory() -> Result<OwnedFd, Errno> {
    let fs = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&fs, c"nr_inodes", c"1")?;
    rustix::mount::fsconfig_set_string(&fs, c"mode", c"755")?;
    rustix::mount::fsconfig_create(&fs)?;
    detached(fs.as_fd(), COVER)
}

fn make_read_only(root: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    let Some(place) = find(root, path)? else { return Ok(()) };
    let tree = clone_tree(place.as_fd(), c"", OpenTreeFlags::AT_RECURSIVE)?;
    // As runc: what else the mount permits stays.
    sys::change_mount(tree.as_fd(), READ_ONLY, true)?;
    attach(&tree, &place)
}

/// Takes away what the kernel takes for a whole /proc or /sys: as long as this namespace has one, somewhere
/// below what chroot(2) leaves there, a user namespace in the container may mount others, in which nothing
/// is masked (`mount_namespaces(7)`).
fn hide_the_hosts() -> Result<(), Errno> {
    for place in [c"/proc", c"/sys"] {
        loop {
            match rustix::mount::unmount(place, UnmountFlags::DETACH) {
                Ok(()) => {}
                // Nothing more is mounted there.
                Err(Errno::INVAL | Errno::NOENT) => break,
                // It may not be taken away, and is covered.
                Err(_) => {
                    let fs = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
                    rustix::mount::fsconfig_create(&fs)?;
                    let cover = detached(fs.as_fd(), COVER)?;
                    attach_at(&cover, CWD, place)?;
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Makes `root` the root of this process and lets go of the host's (`pivot_root(2)`, NOTES).
fn change_root(plan: &RootDirectory, root: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::process::fchdir(root)?;
    if plan.no_pivot {
        hide_the_hosts()?;
        let flags = rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(root, c"", CWD, c"/", flags)?;
        rustix::process::chroot(c".")?;
        return rustix::process::chdir(c"/");
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let host = rustix::fs::open(c"/", flags, Mode::empty())?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::process::fchdir(&host)?;
    // That it goes here is no matter of the host's.
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change(c".", slave)?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}
