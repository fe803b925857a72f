//! From the configuration's process to the plan of one (config.md, "Process").

use std::os::fd::BorrowedFd;

use oci_spec::runtime::{
    Capabilities as Names, LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain,
    LinuxSeccomp, PosixRlimit, PosixRlimitType, Process,
};
use rustix::{
    fs::{Gid, Mode, OFlags, ResolveFlags, Uid},
    process::{Resource, Rlimit},
    thread::CapabilitySet,
};

use super::{Error, Result, agent, priorities::priorities, text::relative};
use crate::{
    facts::{has_apparmor, has_selinux},
    plan::{Capabilities, Identity, ProcessLimit, ProcessPlan, Program},
    policy::{self, UMASK},
    seccomp::{self, Filter},
};

/// What a process's plan depends on beyond the configuration.
pub(super) struct Circumstances<'a> {
    /// The container's root, for who its users are.
    pub(super) root: BorrowedFd<'a>,
    pub(super) seccomp: Option<&'a LinuxSeccomp>,
    pub(super) personality: Option<&'a LinuxPersonality>,
    pub(super) memory: Option<&'a LinuxMemoryPolicy>,
    /// Whether it is in a user namespace other than this process's, where it may have every
    /// capability.
    pub(super) other_users: bool,
    /// Whether it may change its groups.
    pub(super) sets_groups: bool,
    /// Whether it is one beside the first.
    pub(super) further: bool,
    /// How many descriptors from 3 on the program gets.
    pub(super) preserved: u32,
}

/// The plan of `process`.
pub(super) fn plan(process: &Process, around: &Circumstances<'_>) -> Result<ProcessPlan> {
    let env = environment(process, around.root);
    let program = silo_isolation::Process {
        args: process.args().clone().unwrap_or_default(),
        env,
        ..silo_isolation::Process::default()
    };
    if program.args.is_empty() {
        return Err(Error::config("process.args", "must not be empty"));
    }
    if !process.cwd().is_absolute() {
        return Err(Error::config("process.cwd", "must be an absolute path"));
    }
    let user = process.user();
    Ok(ProcessPlan {
        program: Program::new(&program)?,
        working_directory: relative(process.cwd())?,
        identity: identity(process, around)?,
        landlock: None,
        filter: around.seccomp.map(filter).transpose()?,
        filter_last: true,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        umask: user.umask().unwrap_or(UMASK),
        first_closed: 3 + around.preserved,
        apparmor: apparmor(process)?,
        selinux: selinux(process)?,
        limits: process.rlimits().iter().flatten().map(limit).collect(),
        init: None,
        priorities: priorities(process, around.memory, around.further)?,
        personality: around.personality.map(|it| match it.domain() {
            LinuxPersonalityDomain::PerLinux => 0,
            LinuxPersonalityDomain::PerLinux32 => 8,
        }),
        oom_score_adj: process.oom_score_adj().map(|score| score.to_string()),
    })
}

/// The environment of `process`, in which there is always a home.
pub(super) fn environment(process: &Process, root: BorrowedFd<'_>) -> Vec<String> {
    let mut env = without_repeats(process.env().as_deref().unwrap_or_default());
    let has_home = |variable: &String| variable.len() > 5 && variable.starts_with("HOME=");
    if !env.iter().any(has_home) {
        env.retain(|variable| variable != "HOME=");
        env.push(format!("HOME={}", home(root, process.user().uid())));
    }
    env
}

/// Each variable once, as it was set last: what getenv(3) of one program finds is what that of
/// another does.
fn without_repeats(env: &[String]) -> Vec<String> {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let is_last = |(index, variable): &(usize, &String)| {
        !env[index + 1..].iter().any(|later| name(later) == name(variable))
    };
    env.iter().enumerate().filter(is_last).map(|(_, variable)| variable.clone()).collect()
}

/// What SELinux is told of the program.
fn selinux(process: &Process) -> Result<Option<String>> {
    let label = process.selinux_label().as_deref().filter(|label| !label.is_empty());
    if label.is_some() {
        needs_selinux("process.selinuxLabel")?;
    }
    Ok(label.map(str::to_owned))
}

pub(super) fn needs_selinux(property: &str) -> Result<()> {
    if has_selinux() {
        return Ok(());
    }
    let why = "selinux label is specified in config, but selinux is disabled or not supported";
    Err(Error::config(property, why))
}

/// What `AppArmor` is told of the program.
fn apparmor(process: &Process) -> Result<Option<String>> {
    match process.apparmor_profile().as_deref().filter(|profile| !profile.is_empty()) {
        None => Ok(None),
        Some(profile) if has_apparmor() => Ok(Some(format!("exec {profile}"))),
        Some(_) => {
            let why = "this kernel has no AppArmor, or it is off";
            Err(Error::config("process.apparmorProfile", why))
        }
    }
}

fn identity(process: &Process, around: &Circumstances<'_>) -> Result<Identity> {
    let user = process.user();
    let groups = user.additional_gids().clone().unwrap_or_default();
    if !around.sets_groups && !groups.is_empty() {
        let why = "in a user namespace of an ordinary user no groups can be set";
        return Err(Error::config("process.user.additionalGids", why));
    }
    let most = if around.other_users {
        CapabilitySet::all()
    } else {
        rustix::thread::capabilities(None)
            .map_err(Error::step("ask for this process's capabilities"))?
            .permitted
    };
    let set = |names: Option<&Names>| {
        let names = names.into_iter().flatten().map(ToString::to_string);
        let set = policy::Capabilities::named(names);
        CapabilitySet::from_bits_retain(set.0) & most
    };
    let of = process.capabilities().as_ref();
    let permitted = set(of.and_then(|of| of.permitted().as_ref()));
    let inheritable = set(of.and_then(|of| of.inheritable().as_ref()));
    Ok(Identity {
        owner: (Uid::ROOT, Gid::ROOT),
        user: Uid::from_raw(user.uid()),
        group: Gid::from_raw(user.gid()),
        groups: around.sets_groups.then(|| groups.into_iter().map(Gid::from_raw).collect()),
        bounding: set(of.and_then(|of| of.bounding().as_ref())),
        capabilities: Capabilities {
            effective: set(of.and_then(|of| of.effective().as_ref())) & permitted,
            permitted,
            inheritable,
            // No other can be ambient (capabilities(7)).
            ambient: set(of.and_then(|of| of.ambient().as_ref())) & permitted & inheritable,
        },
    })
}

fn filter(profile: &LinuxSeccomp) -> Result<Filter> {
    let text = serde_json::to_string(profile)
        .map_err(|error| Error::config("linux.seccomp", error.to_string()))?;
    let filter = seccomp::listening_profile(&text, policy::Capabilities::default())
        .map_err(|why| Error::config("linux.seccomp", why))?;
    if filter.listens() {
        agent::check(profile)?;
    }
    Ok(filter)
}

/// A limit of setrlimit(2), no higher than this process may give it.
fn limit(limit: &PosixRlimit) -> ProcessLimit {
    let (name, resource) = resource(limit.typ());
    let some = |number: u64| (number != u64::MAX).then_some(number);
    let (mut current, mut maximum) = (some(limit.soft()), some(limit.hard()));
    let own = rustix::process::getrlimit(resource).maximum;
    let raises = CapabilitySet::SYS_RESOURCE;
    let may_raise = rustix::thread::capabilities(None)
        .is_ok_and(|capabilities| capabilities.effective.contains(raises));
    if let Some(own) = own.filter(|_| !may_raise) {
        maximum = Some(maximum.map_or(own, |maximum| maximum.min(own)));
        current = Some(current.map_or(own, |current| current.min(own)));
    }
    ProcessLimit { name, resource, limit: Rlimit { current, maximum } }
}

const fn resource(kind: PosixRlimitType) -> (&'static str, Resource) {
    match kind {
        PosixRlimitType::RlimitAs => ("as", Resource::As),
        PosixRlimitType::RlimitCore => ("core", Resource::Core),
        PosixRlimitType::RlimitCpu => ("cpu", Resource::Cpu),
        PosixRlimitType::RlimitData => ("data", Resource::Data),
        PosixRlimitType::RlimitFsize => ("fsize", Resource::Fsize),
        PosixRlimitType::RlimitLocks => ("locks", Resource::Locks),
        PosixRlimitType::RlimitMemlock => ("memlock", Resource::Memlock),
        PosixRlimitType::RlimitMsgqueue => ("msgqueue", Resource::Msgqueue),
        PosixRlimitType::RlimitNice => ("nice", Resource::Nice),
        PosixRlimitType::RlimitNofile => ("nofile", Resource::Nofile),
        PosixRlimitType::RlimitNproc => ("nproc", Resource::Nproc),
        PosixRlimitType::RlimitRss => ("rss", Resource::Rss),
        PosixRlimitType::RlimitRtprio => ("rtprio", Resource::Rtprio),
        PosixRlimitType::RlimitRttime => ("rttime", Resource::Rttime),
        PosixRlimitType::RlimitSigpending => ("sigpending", Resource::Sigpending),
        PosixRlimitType::RlimitStack => ("stack", Resource::Stack),
    }
}

/// The home directory of `user` by the container's own /etc/passwd, else its root.
fn home(root: BorrowedFd<'_>, user: u32) -> String {
    let passwd = || -> std::io::Result<String> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = rustix::fs::openat2(root, "etc/passwd", flags, Mode::empty(), resolve)?;
        let mut text = String::new();
        // As large as such a file ever is.
        let mut file = std::io::Read::take(std::fs::File::from(file), 1 << 20);
        std::io::Read::read_to_string(&mut file, &mut text)?;
        Ok(text)
    };
    let text = passwd().unwrap_or_default();
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()?.parse() == Ok(user)).then_some(())?;
        fields.nth(2)
    });
    found.filter(|home| !home.is_empty()).unwrap_or("/").to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_home_is_what_the_containers_own_list_says() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let list = "root:x:0:0:root:/root:/bin/sh\nbroken\nwww:x:33:33::/var/www:/bin/sh\n";
        std::fs::write(root.path().join("etc/passwd"), list).unwrap();
        let directory = std::fs::File::open(root.path()).unwrap();
        let of = |user| home(directory.as_fd(), user);
        assert_eq!([of(0), of(33), of(7)], ["/root", "/var/www", "/"]);
    }
}
