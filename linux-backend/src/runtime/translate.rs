//! From a bundle's configuration to the plan (config.md, config-linux.md).

use std::{
    ffi::{CString, OsString},
    fs,
    os::{fd::AsFd as _, unix::ffi::OsStringExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use oci_spec::runtime::{Hook, Linux, Spec};

use super::{
    ContainerPlan, Error, HookPlan, Result, RootDirectory,
    cgroups::Place,
    devices, mount_options,
    mounts::{Planned, Surroundings},
    namespaces::{self, Wanted},
    network,
    process::{self, Circumstances, needs_selinux},
    text::{c_path, c_text, relative},
};
use crate::{
    plan::{Namespaces, Sysctl, kernel_setting},
    sys::Strings,
};

/// What a plan depends on beyond the configuration.
pub(super) struct Around<'a> {
    pub(super) bundle: &'a Path,
    pub(super) place: &'a Place,
    /// Whether this process may give a user namespace any ids.
    pub(super) privileged: bool,
    pub(super) no_pivot: bool,
    pub(super) no_new_keyring: bool,
    pub(super) preserved: u32,
}

impl ContainerPlan {
    pub(super) fn new(spec: &Spec, around: &Around<'_>) -> Result<Self> {
        let linux = spec.linux().as_ref();
        let linux = linux.ok_or_else(|| Error::config("linux", "there is none"))?;
        let process = spec.process().as_ref();
        let process = process.ok_or_else(|| Error::config("process", "there is none to run"))?;
        let wanted = Wanted::of(linux)?;
        if !wanted.has(Namespaces::MOUNT) {
            let why = "a container without a mount namespace of its own would mount on the host";
            return Err(Error::config("linux.namespaces", why));
        }
        if linux.intel_rdt().is_some() {
            return Err(Error::config("linux.intelRdt", no_resource_control()));
        }
        let label = linux.mount_label().as_deref().filter(|label| !label.is_empty());
        if label.is_some() {
            needs_selinux("linux.mountLabel")?;
        }
        let new_users = wanted.new.contains(Namespaces::USER);
        let other_users = wanted.has(Namespaces::USER);
        let outside = new_users && around.privileged;
        let root = root(spec, linux, around, outside)?;
        let directory = fs::File::open(&root.1).map_err(Error::file("open", &root.1))?;
        let surroundings = Surroundings {
            root: directory.as_fd(),
            path: &root.1,
            bundle: around.bundle,
            cgroups: around.place,
            cgroup_namespace: wanted.has(Namespaces::CGROUP),
            outside,
            label,
        };
        let mounts = spec.mounts().as_deref().unwrap_or_default();
        let planned = Planned::new(mounts, &surroundings)?;
        let own_dev = devices::are_ours(mounts);
        let nodes = linux.devices().as_deref().unwrap_or_default();
        let circumstances = Circumstances {
            root: directory.as_fd(),
            seccomp: linux.seccomp().as_ref(),
            personality: linux.personality().as_ref(),
            memory: linux.memory_policy().as_ref(),
            other_users,
            sets_groups: around.privileged || !new_users,
            further: false,
            preserved: around.preserved,
        };
        let (namespaces, unshared) = wanted.split();
        let hooks = spec.hooks().as_ref();
        let mut links = planned.links;
        if own_dev {
            links.extend(devices::links()?);
        }
        let paths = |paths: &Option<Vec<String>>| {
            let paths = paths.iter().flatten().map(|path| relative(Path::new(path)));
            let mut once: Vec<CString> = Vec::new();
            for path in paths {
                let path = path?;
                if !once.contains(&path) {
                    once.push(path);
                }
            }
            Ok::<_, Error>(once)
        };
        Ok(Self {
            namespaces,
            unshared,
            clocks: namespaces::clocks(linux, &wanted)?,
            id_maps: namespaces::id_maps(linux, &wanted, around.privileged)?,
            awaits_cgroup: around.place.unit.is_some(),
            becomes_root: other_users,
            keyring: !around.no_new_keyring,
            sysctls: {
                agree(spec, linux)?;
                sysctls(linux, &wanted)?
            },
            root: root.0,
            mounts: planned.mounts,
            links,
            devices: if own_dev { devices::nodes(nodes)? } else { Vec::new() },
            console: own_dev,
            sealed: planned.sealed,
            masked: paths(linux.masked_paths())?,
            read_only: paths(linux.readonly_paths())?,
            create_hooks: self::hooks(
                hooks.and_then(|hooks| hooks.create_container().as_ref()),
                &[],
            )?,
            start_hooks: self::hooks(
                hooks.and_then(|hooks| hooks.start_container().as_ref()),
                &process::environment(process, directory.as_fd()),
            )?,
            hostname: uts(spec.hostname().as_ref(), "hostname", &wanted)?,
            domain_name: uts(spec.domainname().as_ref(), "domainname", &wanted)?,
            network_devices: network::devices(linux, &wanted)?,
            loopback: wanted.new.contains(Namespaces::NETWORK),
            process: process::plan(process, &circumstances)?,
            joined: wanted.joined,
        })
    }
}

/// Why caches and memory bandwidth are not divided (resctrl(7)).
fn no_resource_control() -> &'static str {
    if Path::new("/sys/fs/resctrl/info").exists() {
        "this runtime does not divide caches and memory bandwidth"
    } else {
        "intelRdt is specified in config, but Intel RDT is not supported or enabled: there is no resctrl \
         file system on /sys/fs/resctrl"
    }
}

fn root(
    spec: &Spec,
    linux: &Linux,
    around: &Around<'_>,
    outside: bool,
) -> Result<(RootDirectory, PathBuf)> {
    let root = spec.root().as_ref().ok_or_else(|| Error::config("root", "there is none"))?;
    let path = around.bundle.join(root.path());
    let path = fs::canonicalize(&path).map_err(Error::file("find the root", &path))?;
    if !path.is_dir() {
        return Err(Error::config("root.path", format!("{} is no directory", path.display())));
    }
    let asked = linux.rootfs_propagation().as_deref().filter(|name| !name.is_empty());
    let propagation = asked.map(propagation).transpose()?;
    let plan = RootDirectory {
        path: c_path(&path)?,
        mount: c_path(&mount_of(&path)?)?,
        read_only: root.readonly().unwrap_or(false),
        outside,
        // Nothing of what cannot be bound could be taken as the root or bound in it.
        propagation: propagation.filter(|it| it & UNBINDABLE == 0).unwrap_or(SLAVE),
        final_propagation: propagation,
        no_pivot: around.no_pivot,
    };
    Ok((plan, path))
}

/// What is mounted on the host is seen, and nothing the other way: as runc.
const SLAVE: u32 = 1 << 19;
const UNBINDABLE: u32 = 1 << 17;
/// `MS_REC` of mount(2).
const RECURSIVE: u32 = 1 << 14;

fn propagation(name: &str) -> Result<u32> {
    let recursive = || Some(mount_options::propagation(name.strip_prefix('r')?)? | RECURSIVE);
    mount_options::propagation(name).or_else(recursive).ok_or_else(|| {
        Error::config("linux.rootfsPropagation", format!("`{name}` is no propagation of mounts"))
    })
}

/// The mount that `path`, which has no link in it, is in.
fn mount_of(path: &Path) -> Result<PathBuf> {
    const FILE: &str = "/proc/self/mountinfo";
    let text = fs::read_to_string(FILE).map_err(Error::file("read", FILE))?;
    let places = text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    let containing = places.filter(|place| path.starts_with(place));
    Ok(containing.max_by_key(|place| place.as_os_str().len()).unwrap_or_else(|| "/".into()))
}

/// A path of mountinfo, where blanks and backslashes are octal numbers (proc(5)).
fn unescape(text: &str) -> PathBuf {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let number = after
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        (rest, plain) = match number {
            Some(number) => (&after[3..], [plain, vec![number]].concat()),
            None => (after, [plain, vec![byte]].concat()),
        };
    }
    OsString::from_vec(plain).into()
}

/// Refuses a name that is told twice, and not as the same.
fn agree(spec: &Spec, linux: &Linux) -> Result<()> {
    let told = [("hostname", spec.hostname()), ("domainname", spec.domainname())];
    for (property, name) in told {
        let key = format!("kernel.{property}");
        let other = linux.sysctl().as_ref().and_then(|all| all.get(&key));
        if let (Some(name), Some(other)) = (name.as_ref().filter(|name| !name.is_empty()), other)
            && name != other
        {
            let why = format!("it is `{name}`, and linux.sysctl has `{other}` for {key}");
            return Err(Error::config(property, why));
        }
    }
    Ok(())
}

fn sysctls(linux: &Linux, wanted: &Wanted) -> Result<Vec<Sysctl>> {
    let mut all: Vec<_> = linux.sysctl().iter().flatten().collect();
    all.sort();
    let sysctl = |(name, value): (&String, &String)| {
        let path = kernel_setting(name, |kind| wanted.has(kind))
            .map_err(|why| Error::config("linux.sysctl", format!("cannot set {name}: {why}")))?;
        Ok(Sysctl { file: c_text(format!("/proc/sys/{path}"))?, value: value.clone() })
    };
    all.into_iter().map(sysctl).collect()
}

fn uts(name: Option<&String>, property: &str, wanted: &Wanted) -> Result<Option<String>> {
    let name = name.filter(|name| !name.is_empty());
    if name.is_some() && !wanted.has(Namespaces::UTS) {
        let why = "without a UTS namespace of the container's it would be the host's";
        return Err(Error::config(property, why));
    }
    Ok(name.cloned())
}

/// Hooks that run in the container. One that says nothing of its environment has `env`.
fn hooks(hooks: Option<&Vec<Hook>>, env: &[String]) -> Result<Vec<HookPlan>> {
    hooks.into_iter().flatten().map(|one| hook(one, env)).collect()
}

fn hook(hook: &Hook, env: &[String]) -> Result<HookPlan> {
    let strings = |texts: &[String]| -> Result<Strings> {
        Ok(Strings::new(texts.iter().map(|text| c_text(text.as_str())).collect::<Result<_>>()?))
    };
    if !hook.path().is_absolute() {
        return Err(Error::config("hooks", format!("{} is not absolute", hook.path().display())));
    }
    let path = hook.path().to_string_lossy().into_owned();
    let args = hook.args().clone().filter(|args| !args.is_empty()).unwrap_or_else(|| vec![path]);
    let timeout = hook.timeout().map(|seconds| {
        u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).ok_or_else(|| {
            Error::config("hooks", format!("a timeout of {seconds} seconds is none"))
        })
    });
    Ok(HookPlan {
        program: c_path(hook.path())?,
        args: strings(&args)?,
        env: strings(hook.env().as_deref().unwrap_or(env))?,
        timeout: timeout.transpose()?.map(Duration::from_secs),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_mountinfo_has_octal_numbers() {
        assert_eq!(unescape(r"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(unescape(r"/a\04"), Path::new(r"/a\04"));
    }

    #[test]
    fn the_mount_of_a_path_is_the_nearest_above_it() {
        assert_eq!(mount_of(Path::new("/proc/self/fd")).unwrap(), Path::new("/proc"));
        assert_eq!(mount_of(Path::new("/")).unwrap(), Path::new("/"));
    }
}
