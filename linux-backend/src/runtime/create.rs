//! `create`: from a bundle to a container that waits to be started.

use std::{
    collections::BTreeSet,
    fs,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use oci_spec::runtime::{self as spec, LinuxSchedulerFlag, Spec};
use rustix::fs::{Mode, OFlags};
use serde_json::Value;
use silo_isolation::TerminalSize;

use super::{
    ContainerPlan, Error, JoinedNamespace, Result, Runtime, SharedTerminal, agent,
    cgroups::{Cgroups, Place},
    console::{Console, send_named},
    explain::{Explain, Subject},
    hooks, network, notify, outside,
    priorities::check_memory_policy,
    record::{Directory, Record, Status, replace},
    systemd::{self, Session, Unit},
    translate::Around,
};
use crate::{
    backend::{give_stream, open_processes},
    child::{Container, Entering, Streams},
    protocol::{self, Gate, Setup},
    record::start_time,
    sys::{self, Cloned, Where},
};

/// How a container is made.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of a command line")]
pub struct CreateOptions {
    /// The directory of its configuration, `config.json`.
    pub bundle: PathBuf,
    /// A socket that its terminal is sent to.
    pub console_socket: Option<PathBuf>,
    /// A socket that a handle on its process (`pidfd_open(2)`) is sent to.
    pub pidfd_socket: Option<PathBuf>,
    /// A file that its process's number is written to.
    pub pid_file: Option<PathBuf>,
    /// Whether its root becomes that by chroot(2).
    pub no_pivot: bool,
    /// Whether it has the session keyring of this process.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 on it gets. One that is not open stays so.
    pub preserve_fds: u32,
    /// How many of those are sockets that others have connected to already (`sd_listen_fds(3)`), and
    /// what they are called.
    pub listen_fds: u32,
    /// The names of those.
    pub listen_names: Option<String>,
    /// Whether its program has a socket to say that it is ready by.
    pub notifies: bool,
    /// Whether nobody waits for it here.
    pub detached: bool,
    /// Whether what its terminal prints, where that is copied here, is for no terminal.
    pub plain_output: bool,
    /// The time, for its record (RFC 3339).
    pub now: String,
    /// Who is told of capabilities of the configuration that nobody knows, and that it therefore has not.
    pub ignoring: Option<fn(&[String])>,
}

/// A container that was made, as long as its maker is there.
pub struct Made {
    pub(super) process: Cloned,
    /// Its terminal, where that was not sent elsewhere.
    pub(super) terminal: Option<SharedTerminal>,
    /// Capabilities of the configuration that are to be ambient and cannot.
    pub unraisable_capabilities: Vec<String>,
}

impl Runtime {
    /// Makes the container `id`. Its program is found and its hooks have run; it waits.
    pub fn create(&self, id: &str, options: &CreateOptions) -> Result<Made> {
        self.create_with(id, options, None)
    }

    /// The same, with `inside` run in the place of the program: in the container's process, which is
    /// a copy of this one and ends with what `inside` returns.
    ///
    /// This process must have no other thread.
    pub fn create_with(
        &self,
        id: &str,
        options: &CreateOptions,
        inside: Option<&dyn Fn() -> u8>,
    ) -> Result<Made> {
        let bundle = fs::canonicalize(&options.bundle)
            .map_err(Error::file("find the bundle", &options.bundle))?;
        let (spec, unknown) = load(&bundle.join("config.json"))?;
        if let Some(tell) = options.ignoring.filter(|_| !unknown.is_empty()) {
            tell(&unknown);
        }
        let console = Console::of(&spec, options)?;
        let mut session = if self.systemd { Some(Session::open(&self.manager)?) } else { None };
        let place = self.place(&spec, id, session.as_mut())?;
        let around = Around {
            bundle: &bundle,
            place: &place,
            privileged: silo_layers::tree::is_privileged(),
            no_pivot: options.no_pivot,
            no_new_keyring: options.no_new_keyring,
            preserved: options.preserve_fds,
        };
        let directory = Directory::of(&self.root, id)?;
        let plan = ContainerPlan::new(&with_additions(&spec, options, &directory)?, &around)?;
        let directory = Directory::make(&self.root, id)?;
        if options.notifies {
            let path = directory.notifications();
            fs::create_dir(&path).map_err(Error::file("make", path))?;
        }
        let record = Record {
            id: id.to_owned(),
            bundle,
            config: spec,
            created: options.now.clone(),
            owner: rustix::process::getuid().as_raw(),
            cgroups: Cgroups::default(),
            pid: 0,
            start: 0,
            ready: false,
        };
        let mut making =
            Making { runtime: self, session, directory, record, process: None, terminal: None };
        making.make(&plan, &place, console.size(), inside)?;
        if let (Some(socket), Some(process)) = (&options.pidfd_socket, &making.process) {
            send_named(socket, &process.pidfd, b"pidfd")?;
        }
        if let Some(file) = &options.pid_file {
            replace(file, making.record.pid.to_string().as_bytes())?;
        }
        let terminal = console.give(making.terminal.take())?;
        if let Some(terminal) = terminal.as_ref().filter(|_| options.plain_output) {
            super::print_plainly(terminal)?;
        }
        making.done(terminal)
    }

    fn place(&self, spec: &Spec, id: &str, session: Option<&mut Session>) -> Result<Place> {
        let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref());
        let path = path.filter(|path| !path.as_os_str().is_empty());
        match session {
            Some(session) => {
                let unit = Unit::new(path, id, self.manager.user)?;
                Place::of_unit(unit, &session.control_group()?)
            }
            None => Place::find(path.unwrap_or(Path::new(id))),
        }
    }

    /// Removes the cgroups of a container in which nothing runs any more.
    pub(super) fn remove_cgroups(&self, cgroups: &Cgroups) -> Result<()> {
        let stopped = match &cgroups.unit {
            Some(unit) => Session::open(&self.manager).and_then(|mut session| session.stop(unit)),
            None => Ok(()),
        };
        // What systemd left; where it left nothing, it has done what it was to do.
        cgroups.remove()?;
        stopped.or_else(|error| if cgroups.are_gone() { Ok(()) } else { Err(error) })
    }
}

/// The configuration with what this program adds to it, of which its record tells nothing.
fn with_additions(spec: &Spec, options: &CreateOptions, directory: &Directory) -> Result<Spec> {
    let mut spec = spec.clone();
    if options.notifies {
        notify::add(&mut spec, &directory.notifications())?;
    }
    if options.listen_fds > 0 {
        let names = options.listen_names.as_ref().map(|names| format!("LISTEN_FDNAMES={names}"));
        // It is the first of its pid namespace, or takes itself for that.
        let variables = [format!("LISTEN_FDS={}", options.listen_fds), "LISTEN_PID=1".to_owned()];
        notify::add_variables(&mut spec, variables.into_iter().chain(names));
    }
    Ok(spec)
}

/// Reads a configuration; gives it and the capabilities in it that nobody knows.
pub(super) fn load(path: &Path) -> Result<(Spec, Vec<String>)> {
    let bytes = fs::read(path).map_err(Error::file("read", path))?;
    let json = |source| Error::Json {
        what: "a configuration of the OCI runtime specification",
        path: path.to_owned(),
        source,
    };
    let mut value: Value = serde_json::from_slice(&bytes).map_err(json)?;
    check_memory_policy(&value)?;
    let process = value.get_mut("process");
    let unknown = process.map(as_it_is_read).unwrap_or_default();
    let spec: Spec = serde_json::from_value(value).map_err(json)?;
    let version = spec.version();
    if version.split('.').next() != Some("1") {
        let why = format!("`{version}` is none that this runtime knows: those are 1.x");
        return Err(Error::config("ociVersion", why));
    }
    Ok((spec, unknown))
}

/// A process as `exec` reads it from a file.
pub fn process_of(json: &[u8]) -> Result<spec::Process, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(json)?;
    as_it_is_read(&mut value);
    if let Some(process) = value.as_object_mut() {
        process.entry("user").or_insert_with(|| serde_json::json!({ "uid": 0, "gid": 0 }));
    }
    serde_json::from_value(value)
}

/// The capabilities that a process is to have as ambient ones and cannot: no other is ambient than one
/// that is permitted and inheritable (capabilities(7)).
#[must_use]
pub fn unraisable_capabilities(process: &spec::Process) -> Vec<String> {
    let Some(sets) = process.capabilities() else { return Vec::new() };
    let has =
        |set: &Option<spec::Capabilities>, one| set.as_ref().is_some_and(|set| set.contains(one));
    let ambient = sets.ambient().iter().flatten();
    let lost = ambient.filter(|one| !(has(sets.permitted(), one) && has(sets.inheritable(), one)));
    let name =
        |one: &spec::Capability| format!("CAP_{}", one.to_string().trim_start_matches("CAP_"));
    let mut lost: Vec<_> = lost.map(name).collect();
    lost.sort();
    lost
}

/// Has a process of a configuration be as this program's types have it; gives the names of capabilities
/// that nobody knows.
fn as_it_is_read(process: &mut Value) -> Vec<String> {
    // The specification's name, and that of the type.
    const FLAGS: [(&str, LinuxSchedulerFlag); 2] = [
        ("SCHED_FLAG_RESET_ON_FORK", LinuxSchedulerFlag::SchedResetOnFork),
        ("SCHED_FLAG_DL_OVERRUN", LinuxSchedulerFlag::SchedFlagDLOverrun),
    ];
    let flags = process.pointer_mut("/scheduler/flags").and_then(Value::as_array_mut);
    for flag in flags.into_iter().flatten() {
        let known = FLAGS.iter().find(|(name, _)| flag.as_str() == Some(name));
        if let Some(own) = known.and_then(|(_, own)| serde_json::to_value(own).ok()) {
            *flag = own;
        }
    }
    leave_unknown_capabilities_out(process)
}

/// A capability that no kernel has can be had by nobody: a configuration that was made for a newer
/// kernel names some. Gives their names.
fn leave_unknown_capabilities_out(process: &mut Value) -> Vec<String> {
    let mut unknown = BTreeSet::new();
    let sets = process.get_mut("capabilities").and_then(Value::as_object_mut);
    for set in sets.into_iter().flat_map(serde_json::Map::values_mut) {
        if let Some(names) = set.as_array_mut() {
            names.retain(|name| {
                let known = serde_json::from_value::<spec::Capability>(name.clone()).is_ok();
                unknown.extend(name.as_str().filter(|_| !known).map(str::to_owned));
                known
            });
        }
    }
    unknown.into_iter().collect()
}

/// A container that is being made. What there is of it goes with this.
struct Making<'a> {
    runtime: &'a Runtime,
    /// With systemd, where that makes the cgroup.
    session: Option<Session>,
    directory: Directory,
    record: Record,
    process: Option<Cloned>,
    terminal: Option<OwnedFd>,
}

impl Making<'_> {
    fn make(
        &mut self,
        plan: &ContainerPlan,
        place: &Place,
        size: Option<TerminalSize>,
        inside: Option<&dyn Fn() -> u8>,
    ) -> Result<()> {
        let cgroups = match &place.unit {
            Some(_) => Cgroups::of_unit(place),
            None => Cgroups::create(place)?,
        };
        // As long as it is not this container's: what is refused stays as it is.
        cgroups.refuse_used()?;
        if place.unit.is_none() {
            self.record.cgroups = cgroups.clone();
            self.limit(&cgroups)?;
        }
        let (setup, process) = self.clone_process(plan, size, inside)?;
        self.record.pid = process.pid;
        self.record.start = start_time(process.pid).unwrap_or(0);
        self.process = Some(process);
        if plan.awaits_cgroup {
            self.have_scope_made(&cgroups)?;
            setup.give(None).map_err(|broken| Explain(Subject::Container(plan)).broken(broken))?;
        }
        self.directory.write(&self.record)?;
        let explain = Explain(Subject::Container(plan));
        outside::help(plan, self.record.pid, &setup).map_err(|broken| explain.broken(broken))?;
        network::give(&plan.network_devices, self.record.pid)?;
        self.run_hooks(&setup, &explain)?;
        if plan.process.listens() {
            let listener = setup.listener().map_err(|broken| explain.broken(broken))?;
            let linux = self.record.config.linux().as_ref();
            let profile = linux.and_then(|linux| linux.seccomp().as_ref());
            let state = self.record.state(Status::Creating);
            agent::tell(profile, &listener, self.record.pid, &state)?;
        }
        let (_, terminal) = setup.ready().map_err(|broken| explain.broken(broken))?;
        self.terminal = terminal;
        self.record.ready = true;
        self.directory.write(&self.record)
    }

    fn resources(&self) -> Option<&spec::LinuxResources> {
        self.record.config.linux().as_ref().and_then(|linux| linux.resources().as_ref())
    }

    /// Limits the container's cgroup, and gives it to its root where that is to have what is below.
    fn limit(&self, cgroups: &Cgroups) -> Result<()> {
        if let Some(resources) = self.resources() {
            cgroups.limit(resources)?;
        }
        match owner_of_cgroup(&self.record.config) {
            Some(owner) if silo_layers::tree::is_privileged() => cgroups.delegate(owner),
            _ => Ok(()),
        }
    }

    /// Has systemd make a scope, with the container's process in it: that is limited from the start,
    /// and then once more, in what systemd knows nothing of.
    fn have_scope_made(&mut self, cgroups: &Cgroups) -> Result<()> {
        let mut properties = systemd::of_annotations(self.record.config.annotations().as_ref())?;
        if let Some(resources) = self.resources() {
            properties.extend(systemd::of_settings(&cgroups.settings(resources)?)?);
        }
        if let (Some(session), Some(unit)) = (&mut self.session, &cgroups.unit) {
            session.start(unit, self.record.pid, properties)?;
        }
        self.record.cgroups = cgroups.clone();
        self.limit(cgroups)
    }

    fn clone_process(
        &self,
        plan: &ContainerPlan,
        size: Option<TerminalSize>,
        inside: Option<&dyn Fn() -> u8>,
    ) -> Result<(Setup, Cloned)> {
        let tasks = self.record.cgroups.tasks()?;
        let unified = self.record.cgroups.unified()?;
        let gate = {
            let (address, _directory) = self.directory.gate_address()?;
            Gate::open(&address).map_err(Error::step("listen for the start of the container"))?
        };
        let connect = || Error::step("connect to the container");
        let (setup, end) = protocol::connect().map_err(connect())?;
        if size.is_none() {
            let linux = self.record.config.linux().as_ref();
            give_own_streams(outside(plan.process.identity.user.as_raw(), linux));
        }
        let processes = open_processes(&plan.process)?;
        let container = Container {
            plan,
            processes: processes.as_ref().map(|directory| directory.as_fd()),
            streams: size.map_or(Streams::Inherited, Streams::Terminal),
            cgroups: &tasks,
            gate: &gate,
            end: &end,
            parents_end: &setup,
            inside,
        };
        let cgroup = unified.as_ref().map(|directory| directory.as_fd());
        let cloned = if plan.joined.is_empty() {
            let place = Where::Child { namespaces: plan.namespaces.0, cgroup };
            sys::clone(place, || container.run()).map_err(Error::step("make namespaces"))?
        } else {
            enter(container, cgroup)?
        };
        Ok((setup, cloned))
    }

    /// Runs the hooks of the host, then lets the child run its own.
    fn run_hooks(&self, setup: &Setup, explain: &Explain<'_>) -> Result<()> {
        setup.hooks().map_err(|broken| explain.broken(broken))?;
        let state = self.record.state(Status::Creating);
        let all = self.record.config.hooks().as_ref();
        // Deprecated, and still what Docker connects networks by.
        #[allow(deprecated)]
        let before = all.and_then(|hooks| hooks.prestart().as_ref());
        hooks::run("prestart", before, &state)?;
        hooks::run("createRuntime", all.and_then(|hooks| hooks.create_runtime().as_ref()), &state)?;
        let input = hooks::input(&state).map_err(Error::step("write the container's state"))?;
        setup.give(Some(input.as_fd())).map_err(|broken| explain.broken(broken))
    }

    /// The container is made: from here on it goes by `delete`.
    fn done(mut self, terminal: Option<OwnedFd>) -> Result<Made> {
        let process = self.record.config.process().as_ref();
        let unraisable_capabilities = process.map(unraisable_capabilities).unwrap_or_default();
        let process = self.process.take().ok_or(Error::NotRunning)?;
        std::mem::forget(self);
        let terminal = terminal.map(super::shared);
        Ok(Made { process, terminal, unraisable_capabilities })
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        // Whatever fails here, the first failure is the one to tell.
        if let Some(process) = self.process.take() {
            let _ = sys::send_signal(process.pidfd.as_fd(), 9);
            let _ = super::wait(process.pidfd.as_fd());
        }
        let _ = self.runtime.remove_cgroups(&self.record.cgroups);
        let _ = self.directory.remove();
    }
}

/// Who is root in a container that sees its own cgroup as the root of all, and may write there: it
/// makes cgroups below (cgroups(7), "Delegation").
fn owner_of_cgroup(config: &Spec) -> Option<u32> {
    let linux = config.linux().as_ref()?;
    let has = |kind| linux.namespaces().iter().flatten().any(|one| one.typ() == kind);
    let writable = config.mounts().iter().flatten().any(|mount| {
        let kind = mount.typ().as_deref();
        matches!(kind, Some("cgroup" | "cgroup2"))
            && mount.options().iter().flatten().all(|option| option != "ro")
    });
    let own = has(spec::LinuxNamespaceType::User) && has(spec::LinuxNamespaceType::Cgroup);
    (own && writable).then(|| outside(0, Some(linux)))
}

/// Makes the standard streams of this process, which are to be a container's, its user's own: else that
/// one cannot open them by their names, /dev/stdout and its like (as runc).
pub(super) fn give_own_streams(owner: u32) {
    give_stream(std::io::stdin().as_fd(), owner);
    give_stream(std::io::stdout().as_fd(), owner);
    give_stream(std::io::stderr().as_fd(), owner);
}

/// The id on the host of a container's user.
pub(super) fn outside(user: u32, linux: Option<&spec::Linux>) -> u32 {
    let mappings = linux.and_then(|linux| linux.uid_mappings().as_ref());
    let found = mappings.into_iter().flatten().find_map(|mapping| {
        let below = user.checked_sub(mapping.container_id())?;
        (below < mapping.size()).then(|| mapping.host_id() + below)
    });
    found.unwrap_or(user)
}

/// Has a process of its own join the plan's namespaces and clone the container's first there.
fn enter(container: Container<'_>, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned> {
    let plan = container.plan;
    let joined = plan.joined.iter().map(open_namespace).collect::<Result<Vec<_>>>()?;
    let connect = Error::step("connect to the container");
    let (helping, end) = protocol::connect_helper().map_err(connect)?;
    let entering = Entering { container, joined: &joined, cgroup, end: &end };
    let helper = sys::clone(Where::Helper, || entering.run())
        .map_err(Error::step("clone a helper to enter namespaces"))?;
    // Until it has ended, the helper uses this process's descriptors: none may be closed.
    super::wait(helper.pidfd.as_fd())?;
    drop(end);
    let explain = Explain(Subject::Container(plan));
    let pidfd = sys::adopt(helping.made().map_err(|broken| explain.broken(broken))?);
    Ok(Cloned { pid: super::number_of(&pidfd)?, pidfd })
}

fn open_namespace(namespace: &JoinedNamespace) -> Result<OwnedFd> {
    let path = &namespace.path;
    let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let opened = opened.map_err(|errno| Error::file("open the namespace", path)(errno.into()))?;
    match sys::namespace_kind(opened.as_fd()) {
        Ok(kind) if kind == namespace.kind.0 => Ok(opened),
        _ => {
            let why = format!("{} is no namespace of type {}", path.display(), namespace.name);
            Err(Error::config("linux.namespaces", why))
        }
    }
}
