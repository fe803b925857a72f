//! The program outside that answers a container's calls (config-linux.md, "Seccomp": `SCMP_ACT_NOTIFY`).

use std::{os::fd::OwnedFd, path::Path};

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction};
use serde::Serialize;

use super::{Error, Result, State, console, record::VERSION};

/// What it is told beside the listener: the specification's "container process state".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'static str,
    /// What the descriptors are that come with it.
    fds: [&'static str; 1],
    /// Whose calls are to be answered.
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: &'a State,
}

const PROPERTY: &str = "linux.seccomp";

/// Refuses a profile by which nobody could be told of a call, or of what to listen to.
pub(super) fn check(profile: &LinuxSeccomp) -> Result<()> {
    const NOTIFY: LinuxSeccompAction = LinuxSeccompAction::ScmpActNotify;
    let wrong = |why: &str| Err(Error::config(PROPERTY, why));
    if profile.default_action() == NOTIFY {
        return wrong("SCMP_ACT_NOTIFY cannot be used as default action");
    }
    let groups = profile.syscalls().iter().flatten();
    let mut notifying = groups.filter(|group| group.action() == NOTIFY);
    if notifying.any(|group| group.names().iter().any(|name| name == "sendmsg")) {
        let why =
            "SCMP_ACT_NOTIFY cannot be used for the sendmsg syscall: it hands the listener over";
        return wrong(why);
    }
    match listener_path(profile) {
        Some(_) => Ok(()),
        None => wrong("SCMP_ACT_NOTIFY takes a listenerPath, and there is none"),
    }
}

fn listener_path(profile: &LinuxSeccomp) -> Option<&Path> {
    profile.listener_path().as_deref().filter(|path| !path.as_os_str().is_empty())
}

/// Tells it of the process `pid`, and hands over what it is to listen to.
pub(super) fn tell(
    profile: Option<&LinuxSeccomp>,
    listener: &OwnedFd,
    pid: i32,
    state: &State,
) -> Result<()> {
    let path = profile.and_then(listener_path);
    let (Some(profile), Some(path)) = (profile, path) else { return Ok(()) };
    let state = ProcessState {
        oci_version: VERSION,
        fds: ["seccompFd"],
        pid,
        metadata: profile.listener_metadata().as_deref(),
        state,
    };
    let text = serde_json::to_vec(&state).map_err(Error::step("write the container's state"))?;
    console::send_named(path, listener, &text).map_err(|error| match error {
        Error::File { source, .. } => Error::Agent { path: path.to_owned(), source },
        error => error,
    })
}
