//! The root file system: overlayfs over the snapshot.

use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use silo_isolation::{Error, Result, Root};

use super::c_string;
use crate::{facts::IdSource, sys::Attributes};

/// How the root file system is mounted.
///
/// Paths are relative to `base`, the directory that holds all of them: the kernel takes at most
/// 255 bytes for one (fsconfig(2)), and what it shows to the guest in /proc/self/mountinfo
/// is not the host's path.
#[derive(Debug)]
pub(crate) struct RootPlan {
    pub(crate) base: CString,
    /// The topmost first.
    pub(crate) lowers: Vec<CString>,
    pub(crate) upper: CString,
    /// Also where it is attached until it becomes the root: nothing else looks for it there.
    pub(crate) work: CString,
    pub(crate) options: Vec<(CString, CString)>,
    /// The extended attributes that overlayfs keeps are `user.overlay.*`, as
    /// `trusted.*` is not to be had in a user namespace.
    pub(crate) user_attributes: bool,
    /// Nothing is synced, not by the guest and not when the mount goes, which would else wait for
    /// all that the disk of the upper has to write.
    pub(crate) volatile: bool,
    /// All of it as mount(2) takes it, for kernels before 6.7 and for paths above 255
    /// bytes; `None` when it does not fit into its one page.
    pub(crate) data: Option<CString>,
    pub(crate) attributes: Attributes,
    pub(crate) readonly: bool,
    /// The first id of the container's range, where it has one. The parent then mounts this, with
    /// the ids of files mapped; the child has no rights over the store.
    pub(crate) outside: Option<u32>,
}

/// Set-user-ID programs of the image work only where programs may gain privileges at all, and its devices
/// only where the guest is given the host.
const fn attributes(no_new_privileges: bool, trusted: bool) -> Attributes {
    let devices = if trusted { Attributes::NONE } else { Attributes::NO_DEV };
    if no_new_privileges { Attributes::NO_SUID.and(devices) } else { devices }
}

/// Off, so that every change is in the upper in the form that layers have.
const OPTIONS: [(&str, &str); 3] =
    [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")];

const PAGE: usize = 4096;

impl RootPlan {
    pub(crate) fn new(
        root: &Root,
        state_dir: &Path,
        ids: IdSource,
        no_new_privileges: bool,
        trusted: bool,
    ) -> Result<Self> {
        let snapshot = &root.snapshot;
        let mut lowers: Vec<_> =
            snapshot.lowers.iter().map(|lower| absolute(&lower.path)).collect::<Result<_>>()?;
        if lowers.is_empty() {
            lowers.push(absolute(&empty_lower(state_dir))?);
        }
        let upper = absolute(&snapshot.upper)?;
        let work = absolute(&snapshot.work)?;
        let base = common_ancestor(lowers.iter().chain([&upper, &work]));
        let below = |path: &PathBuf| path_string(path.strip_prefix(&base).unwrap_or(path));
        let user_attributes = ids.is_rootless();
        let volatile = root.volatile;
        let mut data = data(&base, &lowers, &upper, &work);
        for (flag, wanted) in [(",userxattr", user_attributes), (",volatile", volatile)] {
            if wanted {
                data.extend(flag.bytes());
            }
        }
        Ok(Self {
            lowers: lowers.iter().map(below).collect::<Result<_>>()?,
            upper: below(&upper)?,
            work: below(&work)?,
            options: OPTIONS
                .iter()
                .map(|&(key, value)| Ok((c_string(key)?, c_string(value)?)))
                .collect::<Result<_>>()?,
            user_attributes,
            volatile,
            data: (data.len() < PAGE).then(|| c_string(data)).transpose()?,
            attributes: attributes(no_new_privileges, trusted),
            readonly: root.readonly,
            outside: match ids {
                IdSource::Range { first } => Some(first),
                IdSource::Host | IdSource::Nested | IdSource::Single { .. } => None,
            },
            base: path_string(&base)?,
        })
    }
}

/// The directories that the parent makes: overlayfs wants one lower at least.
pub(super) fn directories(root: &Root, state_dir: &Path) -> Vec<PathBuf> {
    if root.snapshot.lowers.is_empty() { vec![empty_lower(state_dir)] } else { Vec::new() }
}

fn empty_lower(state_dir: &Path) -> PathBuf {
    state_dir.join("empty")
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::file("find", path))
}

pub(super) fn path_string(path: &Path) -> Result<CString> {
    c_string(path.as_os_str().as_bytes())
}

fn common_ancestor<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> PathBuf {
    paths
        .map(|path| path.parent().unwrap_or(path))
        .fold(None, |common: Option<&Path>, path| match common {
            None => Some(path),
            Some(common) => common.ancestors().find(|ancestor| path.starts_with(ancestor)),
        })
        .unwrap_or_else(|| Path::new(""))
        .to_owned()
}

/// The data of mount(2), where commas separate options and colons lowers.
fn data(base: &Path, lowers: &[PathBuf], upper: &Path, work: &Path) -> Vec<u8> {
    let mut data = b"lowerdir=".to_vec();
    for (index, lower) in lowers.iter().enumerate() {
        if index > 0 {
            data.push(b':');
        }
        escape(lower.strip_prefix(base).unwrap_or(lower), &mut data);
    }
    for (key, path) in [("upperdir", upper), ("workdir", work)] {
        data.extend(format!(",{key}=").bytes());
        escape(path.strip_prefix(base).unwrap_or(path), &mut data);
    }
    for (key, value) in OPTIONS {
        data.extend(format!(",{key}={value}").bytes());
    }
    data
}

fn escape(path: &Path, data: &mut Vec<u8>) {
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'\\' | b':' | b',') {
            data.push(b'\\');
        }
        data.push(byte);
    }
}
