//! The container's file systems: from the host's root to the container's.

use std::{
    ffi::CStr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags,
        MoveMountFlags, OpenTreeFlags, UnmountFlags,
    },
};

use super::{
    devices,
    process::{Streams, Terminal},
    target::{self, Kind},
};
use crate::{
    plan::{Anchor, KernelMount, MountPlan, Plan, RootPlan, Source},
    protocol::{At as _, ChildEnd, Failure, Step},
    sys::{self, Attributes},
};

const COVER_ATTRIBUTES: Attributes =
    Attributes::NO_SUID.and(Attributes::NO_DEV).and(Attributes::NO_EXEC).and(Attributes::READ_ONLY);

/// Mounts all that the plan has and makes it the root of this process. Gives the working
/// directory, and the terminal where one is asked for.
pub(super) fn enter(
    plan: &Plan,
    streams: Streams<'_>,
    end: &ChildEnd,
) -> Result<(OwnedFd, Option<Terminal>), Failure> {
    make_private().at(Step::PrivateMounts, 0)?;
    let mut anchors = Anchors::new(match plan.root.outside {
        Some(_) => take_root(end)?,
        None => mount_root(&plan.root)?,
    });
    for (index, mount) in plan.mounts.iter().enumerate() {
        anchors.mount(mount, index, end)?;
    }
    let dev = anchors.get(Anchor::Dev).at(Step::MakeDevice, 0)?;
    devices::fill(plan, dev)?;
    let terminal = match streams {
        Streams::Terminal(size) => {
            let owner = plan.process.identity.user;
            let terminal = anchors.get(Anchor::Dev).and_then(|dev| {
                let terminal = Terminal::outside(dev, size, owner)?;
                terminal.bind_console(dev).map(|()| terminal)
            });
            Some(terminal.at(Step::OpenTerminal, 0)?)
        }
        Streams::Pipes { .. } | Streams::Inherited => None,
    };
    cover(plan, &anchors)?;
    anchors.seal().at(Step::ReadOnly, plan.read_only.len())?;
    for (index, mount) in plan.late_mounts.iter().enumerate() {
        anchors.mount(mount, plan.mounts.len() + index, end)?;
    }
    let root = anchors.root.as_fd();
    let directory = target::open_or_make(root, &plan.process.working_directory, Kind::Directory)
        .at(Step::WorkingDirectory, 0)?;
    if plan.root.readonly {
        sys::set_attributes(root, Attributes::READ_ONLY, false).at(Step::ReadOnlyRoot, 0)?;
    }
    change_root(root).at(Step::ChangeRoot, 0)?;
    Ok((directory, terminal))
}

/// Attaches the root that the parent has mounted where it hides nothing that is still needed: over
/// the host's root, which this process goes on to see.
fn take_root(end: &ChildEnd) -> Result<OwnedFd, Failure> {
    let root = end.take().at(Step::AttachRoot, 1)?;
    attach_at(&root, CWD, c"/").at(Step::AttachRoot, 0)?;
    Ok(root)
}

/// Mounts the snapshot as overlayfs, in a place from where it can become the root.
fn mount_root(plan: &RootPlan) -> Result<OwnedFd, Failure> {
    rustix::process::chdir(plan.base.as_c_str()).at(Step::EnterStore, 0)?;
    let overlay =
        rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).at(Step::OpenOverlay, 0)?;
    match add_layers(plan, overlay.as_fd()) {
        // Before Linux 6.7, or a path too long for fsconfig(2).
        Err(Failure { errno: Errno::INVAL, .. }) if plan.data.is_some() => mount_root_at_once(plan),
        Err(failure) => Err(failure),
        Ok(()) => {
            rustix::mount::fsconfig_create(&overlay).at(Step::MountOverlay, 0)?;
            let root = detached(overlay.as_fd(), plan.attributes).at(Step::MountOverlay, 1)?;
            attach_at(&root, CWD, &plan.work).at(Step::AttachRoot, 0)?;
            Ok(root)
        }
    }
}

fn add_layers(plan: &RootPlan, overlay: BorrowedFd<'_>) -> Result<(), Failure> {
    for (index, lower) in plan.lowers.iter().enumerate() {
        rustix::mount::fsconfig_set_string(overlay, c"lowerdir+", lower.as_c_str())
            .at(Step::AddLayer, index)?;
    }
    for (key, path) in [(c"upperdir", &plan.upper), (c"workdir", &plan.work)] {
        rustix::mount::fsconfig_set_string(overlay, key, path.as_c_str())
            .at(Step::SetOverlay, 0)?;
    }
    add_options(plan, overlay)
}

/// Sets all but what is layered.
pub(crate) fn add_options(plan: &RootPlan, overlay: BorrowedFd<'_>) -> Result<(), Failure> {
    if plan.user_attributes {
        rustix::mount::fsconfig_set_flag(overlay, c"userxattr").at(Step::SetOverlay, 1)?;
    }
    if plan.volatile {
        rustix::mount::fsconfig_set_flag(overlay, c"volatile").at(Step::SetOverlay, 3)?;
    }
    for (key, value) in &plan.options {
        rustix::mount::fsconfig_set_string(overlay, key.as_c_str(), value.as_c_str())
            .at(Step::SetOverlay, 2)?;
    }
    Ok(())
}

/// Attaches a mount of the store, in a mount namespace of this process's own, and enters it.
pub(super) fn attach_store(base: BorrowedFd<'_>) -> Result<(), Failure> {
    make_private().at(Step::PrivateMounts, 0)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(base, c"", CWD, c"/", flags).at(Step::EnterStore, 2)?;
    rustix::process::fchdir(base).at(Step::EnterStore, 0)
}

fn make_private() -> Result<(), Errno> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(c"/", flags)
}

pub(super) fn mount_root_at_once(plan: &RootPlan) -> Result<OwnedFd, Failure> {
    // As MS_* the two have the same bits (mount(2)).
    let flags = MountFlags::from_bits_truncate(plan.attributes.0);
    let data = plan.data.as_deref().unwrap_or_default();
    rustix::mount::mount(c"overlay", plan.work.as_c_str(), c"overlay", flags, data)
        .at(Step::MountOverlay, 0)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(plan.work.as_c_str(), flags, Mode::empty()).at(Step::AttachRoot, 0)
}

/// The places that mounts are relative to.
struct Anchors {
    root: OwnedFd,
    dev: Option<OwnedFd>,
    proc: Option<OwnedFd>,
    sys: Option<OwnedFd>,
    sysfs: Option<OwnedFd>,
}

impl Anchors {
    const fn new(root: OwnedFd) -> Self {
        Self { root, dev: None, proc: None, sys: None, sysfs: None }
    }

    fn get(&self, anchor: Anchor) -> Result<BorrowedFd<'_>, Errno> {
        let place = match anchor {
            Anchor::Root => Some(&self.root),
            Anchor::Dev => self.dev.as_ref(),
            Anchor::Proc => self.proc.as_ref(),
            Anchor::Sys => self.sys.as_ref(),
            Anchor::Sysfs => self.sysfs.as_ref(),
        };
        place.map(|place| place.as_fd()).ok_or(Errno::BADF)
    }

    /// Makes a /sys that is made up of parts read-only, as they are.
    fn seal(&self) -> Result<(), Errno> {
        match (&self.sys, &self.sysfs) {
            (Some(sys), Some(_)) => sys::set_attributes(sys.as_fd(), Attributes::READ_ONLY, false),
            _ => Ok(()),
        }
    }

    fn mount(&mut self, plan: &MountPlan, index: usize, end: &ChildEnd) -> Result<(), Failure> {
        let mount = match &plan.source {
            _ if plan.outside => end.take().at(Step::OpenMount, index)?,
            Source::Part { of, path } => {
                let whole = self.get(*of).at(Step::OpenMount, index)?;
                match clone_tree(whole, path, OpenTreeFlags::AT_RECURSIVE) {
                    // Not every machine has every part.
                    Err(Errno::NOENT) => return Ok(()),
                    part => part.at(Step::OpenMount, index)?,
                }
            }
            Source::New { .. } | Source::Tree { .. } => open_source(plan, index)?,
        };
        let anchor = self.get(plan.anchor).at(Step::FindTarget, index)?;
        if plan.anchor == Anchor::Root {
            let kind = Kind::new(plan.directory);
            let target =
                target::open_or_make(anchor, &plan.target, kind).at(Step::FindTarget, index)?;
            attach(&mount, &target).at(Step::AttachMount, index)?;
        } else {
            // Nobody has seen it yet: its names are what they seem.
            target::make_directories(anchor, &plan.target).at(Step::FindTarget, index)?;
            attach_at(&mount, anchor, &plan.target).at(Step::AttachMount, index)?;
        }
        match plan.becomes {
            Some(Anchor::Root) => self.root = mount,
            Some(Anchor::Dev) => self.dev = Some(mount),
            Some(Anchor::Proc) => self.proc = Some(mount),
            Some(Anchor::Sys) => self.sys = Some(mount),
            Some(Anchor::Sysfs) => self.sysfs = Some(mount),
            None => {}
        }
        Ok(())
    }
}

/// The mount of `plan`, not attached anywhere yet.
pub(crate) fn open_source(plan: &MountPlan, index: usize) -> Result<OwnedFd, Failure> {
    match &plan.source {
        Source::New { kind, options } => {
            let fs = rustix::mount::fsopen(kind.as_c_str(), FsOpenFlags::FSOPEN_CLOEXEC)
                .at(Step::OpenMount, index)?;
            for (key, value) in options {
                rustix::mount::fsconfig_set_string(&fs, key.as_c_str(), value.as_c_str())
                    .at(Step::SetMount, index)?;
            }
            rustix::mount::fsconfig_create(&fs).at(Step::OpenMount, index)?;
            detached(fs.as_fd(), plan.attributes).at(Step::OpenMount, index)
        }
        Source::Tree { path } => {
            let tree =
                clone_tree(CWD, path, OpenTreeFlags::AT_RECURSIVE).at(Step::OpenMount, index)?;
            sys::set_attributes(tree.as_fd(), plan.attributes, true).at(Step::SetMount, index)?;
            Ok(tree)
        }
        // It is opened where what it is part of is known.
        Source::Part { .. } => Err(Errno::INVAL).at(Step::OpenMount, index),
    }
}

pub(crate) fn detached(fs: BorrowedFd<'_>, attributes: Attributes) -> Result<OwnedFd, Errno> {
    let attributes = MountAttrFlags::from_bits_retain(attributes.0);
    rustix::mount::fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A mount of its own of what `path` shows; the empty path is `directory` itself.
pub(crate) fn clone_tree(
    directory: BorrowedFd<'_>,
    path: &CStr,
    flags: OpenTreeFlags,
) -> Result<OwnedFd, Errno> {
    let mut flags = flags | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    rustix::mount::open_tree(directory, path, flags)
}

/// Attaches `mount` over `target`.
pub(super) fn attach(mount: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
}

pub(super) fn attach_at(
    mount: &OwnedFd,
    directory: BorrowedFd<'_>,
    path: &CStr,
) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", directory, path, flags)
}

/// Covers what tells of the host with emptiness, and what changes it with itself, read-only.
fn cover(plan: &Plan, anchors: &Anchors) -> Result<(), Failure> {
    let dev = anchors.get(Anchor::Dev).at(Step::Mask, 0)?;
    let mut blanks = Blanks { dev, file: None, directory: None };
    for (index, path) in plan.masked.iter().enumerate() {
        let anchor = anchors.get(path.anchor).at(Step::Mask, index)?;
        blanks.cover(anchor, &path.path).at(Step::Mask, index)?;
    }
    for (index, path) in plan.read_only.iter().enumerate() {
        make_read_only(path, anchors).at(Step::ReadOnly, index)?;
    }
    Ok(())
}

/// What covers a path: a file with nothing to read, or a directory with nothing in it.
struct Blanks<'a> {
    dev: BorrowedFd<'a>,
    /// A clone that still has no place.
    file: Option<OwnedFd>,
    /// One that has, of which others are cloned: only then can it be.
    directory: Option<OwnedFd>,
}

impl Blanks<'_> {
    /// Covers `path` in a file system of the kernel's that nobody has seen yet: its names are what they
    /// seem. As there are many, each takes as few calls as can be.
    fn cover(&mut self, anchor: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
        let file = match self.file.take() {
            Some(file) => file,
            None => clone_tree(self.dev, c"null", OpenTreeFlags::empty())?,
        };
        match attach_at(&file, anchor, path) {
            // Not every kernel and machine has every path.
            Err(Errno::NOENT) => {
                self.file = Some(file);
                Ok(())
            }
            // No file covers a directory.
            Err(Errno::INVAL | Errno::NOTDIR) => {
                self.file = Some(file);
                self.cover_directory(anchor, path)
            }
            attached => attached,
        }
    }

    fn cover_directory(&mut self, anchor: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
        if let Some(directory) = &self.directory {
            let clone = clone_tree(directory.as_fd(), c"", OpenTreeFlags::empty())?;
            return attach_at(&clone, anchor, path);
        }
        let fs = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(&fs, c"nr_inodes", c"1")?;
        rustix::mount::fsconfig_set_string(&fs, c"mode", c"755")?;
        rustix::mount::fsconfig_create(&fs)?;
        let mount = detached(fs.as_fd(), COVER_ATTRIBUTES)?;
        attach_at(&mount, anchor, path)?;
        self.directory = Some(mount);
        Ok(())
    }
}

fn make_read_only(path: &KernelMount, anchors: &Anchors) -> Result<(), Errno> {
    let target = match target::open(anchors.get(path.anchor)?, &path.path) {
        // Not every kernel and machine has every path.
        Err(Errno::NOENT) => return Ok(()),
        found => found?,
    };
    let tree = clone_tree(target.as_fd(), c"", OpenTreeFlags::AT_RECURSIVE)?;
    sys::set_attributes(tree.as_fd(), COVER_ATTRIBUTES, true)?;
    attach(&tree, &target)
}

/// Makes `root` the root of this process and lets go of the host's (`pivot_root(2)`, NOTES).
fn change_root(root: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}
