//! What is mounted over the root file system.

use std::{ffi::CString, path::Path};

use silo_isolation::{Bundle, Error, Mount, MountKind, Network, Result};

use super::{Anchor, StateFile, c_string, devices, relative, root::path_string};
use crate::{
    facts::{Facts, IdSource},
    policy::{KernelPath, MountOption, Policy, SYSFS_PARTS},
    sys::Attributes,
};

/// One mount.
#[derive(Debug)]
pub(crate) struct MountPlan {
    pub(crate) source: Source,
    pub(crate) attributes: Attributes,
    pub(crate) anchor: Anchor,
    /// Its place below the anchor; made where it is missing.
    pub(crate) target: CString,
    /// Whether that is a directory, or else a file.
    pub(crate) directory: bool,
    /// Whether the parent opens it, and maps its ids: it has rights over it that the child, in a
    /// user namespace, has not.
    pub(crate) outside: bool,
    /// Which anchor it is for what follows.
    pub(crate) becomes: Option<Anchor>,
}

/// What a mount shows.
#[derive(Debug)]
pub(crate) enum Source {
    /// A new file system.
    New { kind: CString, options: Vec<(CString, CString)> },
    /// A tree of the host, with all that is mounted in it.
    Tree { path: CString },
    /// A part of what is mounted already, where there is such a part.
    Part { of: Anchor, path: CString },
}

/// A path of the kernel's own file systems that is covered. Skipped where there is none.
#[derive(Debug)]
pub(crate) struct KernelMount {
    pub(crate) anchor: Anchor,
    pub(crate) path: CString,
}

const NO_PRIVILEGE: Attributes = Attributes::NO_SUID.and(Attributes::NO_DEV);

/// The file systems of every container.
pub(super) fn file_systems(
    bundle: &Bundle,
    facts: &Facts,
    policy: &Policy,
) -> Result<Vec<MountPlan>> {
    let mut mounts = policy
        .file_systems
        .iter()
        .map(|fs| {
            // sysfs shows the network namespace, and may be mounted only by its owner.
            let host = fs.kind == "sysfs" && bundle.network == Network::Host;
            let outside = host && is_range(facts);
            let source = if host && facts.ids.user_namespace() && !outside {
                Source::Tree { path: c_string(fs.full)? }
            } else {
                new(fs.kind, fs.options, facts)?
            };
            Ok(MountPlan {
                source,
                attributes: system(fs.attributes, policy),
                anchor: fs.anchor,
                target: relative(fs.target)?,
                directory: true,
                outside,
                becomes: fs.becomes,
            })
        })
        .chain(parts(policy))
        .collect::<Result<Vec<_>>>()?;
    let has_sys = policy.file_systems.iter().any(|fs| fs.becomes == Some(Anchor::Sys));
    if has_sys && facts.cgroups.as_ref().is_some_and(crate::cgroup::Hierarchy::is_unified) {
        mounts.push(MountPlan {
            source: new("cgroup2", &[], facts)?,
            attributes: system(
                NO_PRIVILEGE.and(Attributes::NO_EXEC).and(Attributes::READ_ONLY),
                policy,
            ),
            anchor: Anchor::Sys,
            target: c"fs/cgroup".to_owned(),
            directory: true,
            outside: false,
            becomes: None,
        });
    }
    Ok(mounts)
}

const fn system(attributes: Attributes, policy: &Policy) -> Attributes {
    if policy.writable_system { attributes.without(Attributes::READ_ONLY) } else { attributes }
}

/// What of sysfs is shown where its whole is covered. Each part keeps the attributes of the whole.
fn parts(policy: &Policy) -> impl Iterator<Item = Result<MountPlan>> {
    let has_parts = policy.file_systems.iter().any(|fs| fs.becomes == Some(Anchor::Sysfs));
    let parts = if has_parts { SYSFS_PARTS } else { &[] };
    parts.iter().map(|&path| {
        Ok(MountPlan {
            source: Source::Part { of: Anchor::Sysfs, path: c_string(path)? },
            attributes: Attributes::default(),
            anchor: Anchor::Sys,
            target: c_string(path)?,
            directory: true,
            outside: false,
            becomes: None,
        })
    })
}

pub(super) fn is_range(facts: &Facts) -> bool {
    matches!(facts.ids, IdSource::Range { .. })
}

fn new(kind: &str, options: &[MountOption], facts: &Facts) -> Result<Source> {
    let options = options
        .iter()
        .filter(|option| !option.names_another || facts.ids.has_others())
        .map(|option| Ok((c_string(option.key)?, c_string(option.value)?)))
        .collect::<Result<_>>()?;
    Ok(Source::New { kind: c_string(kind)?, options })
}

pub(super) fn kernel_mounts(paths: &[KernelPath], facts: &Facts) -> Result<Vec<KernelMount>> {
    paths
        .iter()
        .filter(|path| !path.is_roots || !facts.ids.user_namespace())
        .map(|path| Ok(KernelMount { anchor: path.anchor, path: c_string(path.relative())? }))
        .collect()
}

/// What comes last: the generated files of /etc, then what the bundle asks for.
pub(super) fn late(
    bundle: &Bundle,
    facts: &Facts,
    trusted: bool,
    files: &[StateFile],
) -> Result<Vec<MountPlan>> {
    let files = files.iter().map(|file| generated(bundle, facts, file));
    let asked = bundle.mounts.iter().map(|mount| asked(mount, facts, trusted));
    files.chain(asked).chain(devices::elsewhere(facts)).collect()
}

fn generated(bundle: &Bundle, facts: &Facts, file: &StateFile) -> Result<MountPlan> {
    let name = file.path.file_name().unwrap_or_default().to_string_lossy();
    let path = std::path::absolute(&file.path).map_err(Error::file("find", &file.path))?;
    Ok(MountPlan {
        source: Source::Tree { path: path_string(&path)? },
        attributes: writable(NO_PRIVILEGE.and(Attributes::NO_EXEC), bundle.root.readonly),
        anchor: Anchor::Root,
        target: c_string(format!("etc/{name}"))?,
        directory: false,
        outside: is_range(facts),
        becomes: None,
    })
}

fn asked(mount: &Mount, facts: &Facts, trusted: bool) -> Result<MountPlan> {
    let bind = matches!(mount.kind, MountKind::Bind { .. });
    let attributes = if trusted && bind { Attributes::NONE } else { NO_PRIVILEGE };
    let source = match &mount.kind {
        MountKind::Bind { source } => Source::Tree { path: path_string(source)? },
        MountKind::Tmpfs { size, mode } => {
            let mut options =
                vec![(c"mode".to_owned(), c_string(format!("{:o}", mode.unwrap_or(0o1777)))?)];
            if let Some(size) = size {
                options.push((c"size".to_owned(), c_string(size.to_string())?));
            }
            Source::New { kind: c"tmpfs".to_owned(), options }
        }
    };
    Ok(MountPlan {
        directory: match &mount.kind {
            MountKind::Bind { source } => facts.is_directory(source),
            MountKind::Tmpfs { .. } => true,
        },
        outside: matches!(source, Source::Tree { .. }) && is_range(facts),
        source,
        attributes: writable(attributes, mount.readonly),
        anchor: Anchor::Root,
        target: relative(&mount.destination)?,
        becomes: None,
    })
}

const fn writable(attributes: Attributes, readonly: bool) -> Attributes {
    if readonly { attributes.and(Attributes::READ_ONLY) } else { attributes }
}

/// The files of /etc that are this container's own.
pub(super) fn state_files(bundle: &Bundle, facts: &Facts) -> Vec<StateFile> {
    let file =
        |name: &str, content: String| StateFile { path: bundle.state_dir.join(name), content };
    vec![
        file("hosts", hosts(bundle, facts)),
        file("hostname", format!("{}\n", bundle.hostname)),
        file("resolv.conf", facts.resolv_conf.clone().unwrap_or_default()),
    ]
}

fn hosts(bundle: &Bundle, facts: &Facts) -> String {
    let known = facts.hosts.as_deref().unwrap_or(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    format!("{}\n127.0.1.1\t{}\n", known.trim_end(), bundle.hostname)
}

/// Whether `path` is one that a mount cannot take.
pub(crate) fn is_root(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, std::path::Component::RootDir))
}
