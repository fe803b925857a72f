//! Cgroups that systemd makes: one scope for each container (systemd.scope(5), `org.freedesktop.systemd1(5)`),
//! of the machine's manager or of the user's own.

mod bus;
mod message;
mod properties;

use std::{
    io,
    path::{Path, PathBuf},
    time::Instant,
};

use bus::{Bus, PATIENCE};
use message::{Call, Reader, Writer};
pub(crate) use message::{Property, Value};
pub(super) use properties::{of_annotations, of_settings};
use serde::{Deserialize, Serialize};

use super::{Error, Result};

/// The manager that makes scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// Where its bus listens: addresses as D-Bus writes them.
    pub bus: String,
    /// Whether it is a user's.
    pub user: bool,
}

/// A unit of systemd's, by its name, and the slice that it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unit {
    pub(crate) name: String,
    pub(crate) slice: String,
    /// Whether a user's manager has it.
    pub(crate) user: bool,
}

const PROPERTY: &str = "linux.cgroupsPath";

impl Unit {
    /// That of the configuration's `cgroupsPath`, `slice:prefix:name`, for the container `id`.
    pub(crate) fn new(path: Option<&Path>, id: &str, user: bool) -> Result<Self> {
        let default = if user { "user.slice" } else { "system.slice" };
        let text = path.map(Path::to_string_lossy).unwrap_or_default();
        let parts: Vec<_> = text.split(':').collect();
        let (slice, prefix, name) = match parts[..] {
            [""] => ("", "silo", id),
            [slice, prefix, name] => (slice, prefix, name),
            _ => {
                let why = format!(
                    "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, \
                     got `{text}` instead"
                );
                return Err(Error::config(PROPERTY, why));
            }
        };
        if name.is_empty() || name.strip_suffix(".slice").is_some() {
            let why = format!("`{text}` names no scope: a container has one of its own");
            return Err(Error::config(PROPERTY, why));
        }
        let slice = if slice.is_empty() { default } else { slice };
        // Told before anything is made.
        directories(slice)?;
        let name = match prefix {
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        let known = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if name.len() > 255 || !name.chars().all(known) {
            let why = format!("`{name}` is no name of a unit");
            return Err(Error::config(PROPERTY, why));
        }
        Ok(Self { name, slice: slice.to_owned(), user })
    }

    /// Where its cgroup is, below that of its manager.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        Ok(directories(&self.slice)?.join(&self.name))
    }
}

/// Where a slice is: `a-b.slice` is in `a.slice` (systemd.slice(5)).
fn directories(slice: &str) -> Result<PathBuf> {
    let wrong = || Error::config(PROPERTY, format!("invalid slice name: `{slice}`"));
    let name = slice.strip_suffix(".slice").filter(|name| !name.contains('/')).ok_or_else(wrong)?;
    if name == "-" {
        return Ok(PathBuf::new());
    }
    let mut path = PathBuf::new();
    for (index, part) in name.split('-').enumerate() {
        if part.is_empty() {
            return Err(wrong());
        }
        let upto: Vec<_> = name.split('-').take(index + 1).collect();
        path.push(format!("{}.slice", upto.join("-")));
    }
    Ok(path)
}

/// A conversation with a manager.
#[derive(Debug)]
pub(crate) struct Session {
    bus: Bus,
    user: bool,
}

const DESTINATION: &str = "org.freedesktop.systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
/// What to do with jobs that are in the way of one.
const MODE: &str = "replace";

impl Session {
    pub(crate) fn open(manager: &Manager) -> Result<Self> {
        if manager.bus.is_empty() {
            let what = "where systemd's bus is cannot be told: neither DBUS_SESSION_BUS_ADDRESS nor \
                        XDG_RUNTIME_DIR is set";
            return Err(Error::Unsupported(what.to_owned()));
        }
        let bus = Bus::connect(&manager.bus).map_err(|failure| {
            Error::step(format!("reach systemd by the bus {}", manager.bus))(failure)
        })?;
        Ok(Self { bus, user: manager.user })
    }

    /// Below which cgroup the manager's units are: nobody but a user's is in one of its own.
    pub(crate) fn control_group(&mut self) -> Result<PathBuf> {
        if !self.user {
            return Ok(PathBuf::new());
        }
        let mut body = Writer::default();
        body.text(INTERFACE);
        body.text("ControlGroup");
        let answer = self
            .bus
            .call(Call { interface: "org.freedesktop.DBus.Properties", ..call("Get", "ss", body) });
        let answer = answer.map_err(Error::step("ask systemd for its cgroup"))?;
        let mut reader = Reader::new(&answer);
        let text = reader.signature().filter(|kind| *kind == "s").and_then(|_| reader.text());
        let text = text.ok_or_else(|| unexpected("tells no cgroup of its own"))?;
        Ok(super::mounts::clean(Path::new(text)))
    }

    /// Has it make a scope with the process `pid` in it.
    pub(crate) fn start(&mut self, unit: &Unit, pid: i32, more: Vec<Property>) -> Result<()> {
        let pid = u32::try_from(pid).map_err(|_| Error::NotRunning)?;
        let flag = |name: &str, value| (name.to_owned(), Value::Bool(value));
        let mut properties = vec![
            ("Description".to_owned(), Value::Text(format!("silo container {}", unit.name))),
            ("Slice".to_owned(), Value::Text(unit.slice.clone())),
            ("PIDs".to_owned(), Value::U32s(vec![pid])),
            // What is below is the container's, or its runtime's.
            flag("Delegate", true),
            flag("MemoryAccounting", true),
            flag("CPUAccounting", true),
            flag("IOAccounting", true),
            flag("TasksAccounting", true),
            // It ends when its runtime says so, not when the machine is about to.
            flag("DefaultDependencies", false),
        ];
        properties.extend(more);
        let job = match self.start_once(unit, &properties) {
            // One that failed is kept until somebody has seen it.
            Err(failure) if failure.is("UnitExists") => {
                self.forget(&unit.name);
                self.start_once(unit, &properties)
            }
            job => job,
        };
        let done = job.and_then(|job| self.outcome(&job));
        let outcome = done.map_err(Error::step(format!("have systemd make {}", unit.name)))?;
        if outcome == "done" {
            return Ok(());
        }
        self.forget(&unit.name);
        Err(unexpected(&format!("made no scope {}: its job is {outcome}", unit.name)))
    }

    fn start_once(&mut self, unit: &Unit, properties: &[Property]) -> bus::Result<String> {
        self.listen()?;
        let mut body = Writer::default();
        body.text(&unit.name);
        body.text(MODE);
        body.properties(properties);
        // No other units.
        body.array(8, |_| {});
        self.job(call("StartTransientUnit", "ssa(sv)a(sa(sv))", body))
    }

    fn listen(&mut self) -> bus::Result<()> {
        let rule = "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
        self.bus.listen(rule)?;
        match self.bus.call(call("Subscribe", "", Writer::default())) {
            Err(failure) if failure.is("AlreadySubscribed") => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// The job that a call has begun.
    fn job(&mut self, call: Call<'_>) -> bus::Result<String> {
        let answer = self.bus.call(call)?;
        let job = Reader::new(&answer).text().map(str::to_owned);
        job.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData).into())
    }

    /// How a job ended.
    fn outcome(&mut self, job: &str) -> bus::Result<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let (member, body) = self.bus.signal(end)?;
            let mut reader = Reader::new(&body);
            if member != "JobRemoved" || reader.u32().is_none() || reader.text() != Some(job) {
                continue;
            }
            let result = reader.text().and_then(|_| reader.text());
            return Ok(result.unwrap_or_default().to_owned());
        }
    }

    /// Moves the process `pid` into a unit, which a user may not do across the cgroups of others.
    pub(crate) fn attach(&mut self, unit: &Unit, pid: i32) -> Result<()> {
        let mut body = Writer::default();
        body.text(&unit.name);
        body.text("");
        body.array(4, |pids| pids.u32(pid.cast_unsigned()));
        let answer = self.bus.call(call("AttachProcessesToUnit", "ssau", body));
        let step = format!("have systemd move the process into {}", unit.name);
        answer.map(drop).map_err(Error::step(step))
    }

    /// Sets properties of a unit until it is gone.
    pub(crate) fn set(&mut self, unit: &Unit, properties: &[Property]) -> Result<()> {
        if properties.is_empty() {
            return Ok(());
        }
        let mut body = Writer::default();
        body.text(&unit.name);
        body.bool(true);
        body.properties(properties);
        let answer = self.bus.call(call("SetUnitProperties", "sba(sv)", body));
        answer.map(drop).map_err(Error::step(format!("have systemd limit {}", unit.name)))
    }

    /// Removes a unit. None of that name is success.
    pub(crate) fn stop(&mut self, unit: &Unit) -> Result<()> {
        let mut body = Writer::default();
        body.text(&unit.name);
        body.text(MODE);
        let stopped = self.listen().and_then(|()| self.job(call("StopUnit", "ss", body)));
        let outcome = stopped.and_then(|job| self.outcome(&job));
        // Where it had failed.
        self.forget(&unit.name);
        match outcome {
            Err(failure) if failure.is("NoSuchUnit") => Ok(()),
            outcome => {
                let step = format!("have systemd stop {}", unit.name);
                outcome.map(drop).map_err(Error::step(step))
            }
        }
    }

    /// Has it keep nothing of a unit that failed; it may have nothing.
    fn forget(&mut self, name: &str) {
        let mut body = Writer::default();
        body.text(name);
        let _ = self.bus.call(call("ResetFailedUnit", "s", body));
    }
}

const fn call<'a>(member: &'a str, signature: &'a str, body: Writer) -> Call<'a> {
    Call {
        destination: DESTINATION,
        path: "/org/freedesktop/systemd1",
        interface: INTERFACE,
        member,
        signature,
        body,
    }
}

fn unexpected(why: &str) -> Error {
    Error::Unsupported(format!("systemd {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(path: &str) -> Result<(String, String)> {
        let unit = Unit::new(Some(Path::new(path)), "id", false)?;
        Ok((unit.name.clone(), unit.path()?.display().to_string()))
    }

    #[test]
    fn a_path_names_a_slice_and_a_scope() {
        let of = |path| unit(path).unwrap();
        let kubernetes = "kubepods-burstable-podx.slice:cri-containerd:abc";
        let path = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice/\
                    cri-containerd-abc.scope";
        assert_eq!(of(kubernetes), ("cri-containerd-abc.scope".to_owned(), path.to_owned()));
        assert_eq!(of(":p:n").1, "system.slice/p-n.scope");
        assert_eq!(of("-.slice::n").1, "n.scope");
        assert_eq!(of("").1, "system.slice/silo-id.scope");
        let user = Unit::new(None, "id", true).unwrap();
        assert_eq!(user.path().unwrap(), Path::new("user.slice/silo-id.scope"));
    }

    #[test]
    fn what_names_no_scope_is_refused() {
        for wrong in [
            "/a/b",
            "a:b",
            "a--b.slice:p:n",
            "x:p:n",
            "../a.slice:p:n",
            ":p:a/b",
            ":p:",
            ":p:s.slice",
        ] {
            assert!(unit(wrong).is_err(), "{wrong}");
        }
    }
}
