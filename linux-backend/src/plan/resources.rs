//! What each process may use up, and the settings of the container's kernel.

use std::ffi::CString;

use rustix::process::{Resource as Kernel, Rlimit};
use silo_isolation::{Bundle, Error, Limits, Network, Resource, Result, Ulimit};

use super::{Anchor, MountPlan, Namespaces, Source, c_string};
use crate::{facts::Facts, policy::RLIMITS};

/// One limit of setrlimit(2).
#[derive(Debug)]
pub(crate) struct ProcessLimit {
    pub(crate) name: &'static str,
    pub(crate) resource: Kernel,
    pub(crate) limit: Rlimit,
}

impl ProcessLimit {
    /// The limit of this process, as high as that of the program is to be; `None` where it is as
    /// high already.
    pub(crate) fn raised(&self) -> Option<Rlimit> {
        let own = rustix::process::getrlimit(self.resource);
        let exceeds = own.maximum.is_some_and(|own| self.limit.maximum.is_none_or(|it| it > own));
        exceeds.then_some(Rlimit { maximum: self.limit.maximum, ..own })
    }
}

/// A file of /proc/sys and what it is to hold.
#[derive(Debug)]
pub(crate) struct Sysctl {
    pub(crate) file: CString,
    pub(crate) value: String,
}

/// The defaults that nothing else was asked for in place of, then what was asked for.
pub(super) fn process_limits(limits: &Limits, facts: &Facts) -> Vec<ProcessLimit> {
    let mut all: Vec<Ulimit> = RLIMITS.iter().map(|limit| permitted(*limit, facts)).collect();
    for asked in &limits.ulimits {
        all.retain(|limit| limit.resource != asked.resource);
        all.push(*asked);
    }
    let plan = |limit: Ulimit| ProcessLimit {
        name: limit.resource.name(),
        resource: kernels(limit.resource),
        limit: Rlimit { current: limit.soft, maximum: limit.hard },
    };
    all.into_iter().map(plan).collect()
}

/// A default as far as this process may give it.
fn permitted(limit: Ulimit, facts: &Facts) -> Ulimit {
    if limit.resource != Resource::Nofile {
        return limit;
    }
    let least = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
    let hard = least(limit.hard, facts.most_files);
    Ulimit { soft: least(limit.soft, hard), hard, ..limit }
}

/// A resource as the kernel's calls name it.
pub(crate) const fn kernels(resource: Resource) -> Kernel {
    match resource {
        Resource::As => Kernel::As,
        Resource::Core => Kernel::Core,
        Resource::Cpu => Kernel::Cpu,
        Resource::Data => Kernel::Data,
        Resource::Fsize => Kernel::Fsize,
        Resource::Locks => Kernel::Locks,
        Resource::Memlock => Kernel::Memlock,
        Resource::Msgqueue => Kernel::Msgqueue,
        Resource::Nice => Kernel::Nice,
        Resource::Nofile => Kernel::Nofile,
        Resource::Nproc => Kernel::Nproc,
        Resource::Rss => Kernel::Rss,
        Resource::Rtprio => Kernel::Rtprio,
        Resource::Rttime => Kernel::Rttime,
        Resource::Sigpending => Kernel::Sigpending,
        Resource::Stack => Kernel::Stack,
    }
}

/// The settings of the container's kernel that were asked for.
pub(super) fn sysctls(bundle: &Bundle) -> Result<Vec<Sysctl>> {
    let sysctl = |(name, value): (&String, &String)| {
        let path = sysctl_path(name, bundle.network)
            .map_err(|why| Error::Unsupported { what: format!("cannot set {name}: {why}") })?;
        let file = c_string(format!("/proc/sys/{path}"))?;
        Ok(Sysctl { file, value: value.clone() })
    };
    bundle.sysctls.iter().map(sysctl).collect()
}

/// The path below /proc/sys of a setting that a namespace of the container has of its own
/// (`ipc_namespaces(7)`, `network_namespaces(7)`), or why there is none.
pub(crate) fn sysctl_path(name: &str, network: Network) -> Result<String, &'static str> {
    let own = |kind| kind != Namespaces::NETWORK || network == Network::None;
    kernel_setting(name, |kind| kind != Namespaces::UTS && own(kind))
}

/// The same for a container that has a namespace of its own of the kinds that `has` says.
pub(crate) fn kernel_setting(
    name: &str,
    has: impl Fn(Namespaces) -> bool,
) -> Result<String, &'static str> {
    // As in sysctl.d(5): the first separator is the one, the other stands for it in a name.
    let slashes = name.find(['.', '/']).is_some_and(|at| name[at..].starts_with('/'));
    let exchanged = |c: char| match c {
        '.' => '/',
        '/' => '.',
        _ => c,
    };
    let path = if slashes { name.to_owned() } else { name.chars().map(exchanged).collect() };
    let parts: Vec<&str> = path.split('/').collect();
    let is_name = |part: &&str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        part.bytes().all(known) && !matches!(*part, "" | "." | "..")
    };
    if !parts.iter().all(is_name) {
        return Err("it is no name of a setting");
    }
    match parts[..] {
        ["net", _, ..] if !has(Namespaces::NETWORK) => {
            Err("with the host's network it is the host's setting")
        }
        ["net", _, ..] => Ok(path),
        ["fs", "mqueue", _] | ["kernel", "sem"] if has(Namespaces::IPC) => Ok(path),
        ["kernel", name]
            if has(Namespaces::IPC) && (name.starts_with("shm") || name.starts_with("msg")) =>
        {
            Ok(path)
        }
        ["kernel", "domainname"] if has(Namespaces::UTS) => Ok(path),
        _ => Err(
            "it is a setting of the whole host: a container has of its own net.*, kernel.shm*, \
                  kernel.msg*, kernel.sem and fs.mqueue.*",
        ),
    }
}

/// Sets the size of /dev/shm.
pub(super) fn set_shm_size(mounts: &mut [MountPlan], size: u64) -> Result<()> {
    let is_shm =
        |mount: &&mut MountPlan| mount.anchor == Anchor::Dev && mount.target.as_c_str() == c"shm";
    if let Some(shm) = mounts.iter_mut().find(is_shm)
        && let Source::New { options, .. } = &mut shm.source
    {
        options.retain(|(key, _)| key.as_c_str() != c"size");
        options.push((c"size".to_owned(), c_string(size.to_string())?));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_of_a_namespace_are_reached() {
        let own = |name: &str| sysctl_path(name, Network::None);
        for (name, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
            ("kernel.shmmax", "kernel/shmmax"),
            ("kernel.msgmni", "kernel/msgmni"),
            ("kernel.sem", "kernel/sem"),
            ("fs.mqueue.msg_max", "fs/mqueue/msg_max"),
        ] {
            assert_eq!(own(name).as_deref(), Ok(path));
        }
        for name in [
            "kernel.panic",
            "kernel.shm/../panic",
            "kernel.shm.x",
            "net",
            "net.",
            "net..x",
            "net.//.//.kernel.panic",
            "net/../kernel/panic",
            "vm.swappiness",
            "fs.mqueue",
            "fs.file-max",
            "",
            ".",
            "/",
            "net.a b",
        ] {
            assert!(own(name).is_err(), "{name}");
        }
        assert!(sysctl_path("net.ipv4.ip_forward", Network::Host).is_err());
        assert!(sysctl_path("kernel.sem", Network::Host).is_ok());
    }
}
