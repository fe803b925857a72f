//! A runtime as the OCI runtime specification has it: containers made from bundles, by commands that
//! do one thing and end.
//!
//! 1. `translate` computes a plan from a bundle's configuration: `mounts`, `devices`, `namespaces`,
//!    `process`; `cgroups` finds the container's place among cgroups.
//! 2. `create` clones its first process, which follows the plan (`child`) while `outside`
//!    does what it may not itself, runs `hooks`, and waits at a gate: a socket in the container's
//!    directory.
//! 3. `start` lets it through, and hears over the same socket whether the program runs. Whoever
//!    started this program is from then on the one to wait for the container.
//! 4. `record` is what is written down; where a container stands is seen from its process, its cgroup and
//!    whether its gate is there. `life` has the other operations, `exec` further processes.

mod agent;
mod cgroups;
mod console;
mod create;
mod devices;
mod error;
mod exec;
mod explain;
mod features;
mod hooks;
mod life;
mod mount_options;
mod mounts;
mod namespaces;
mod netlink;
mod network;
mod notify;
mod outside;
mod plan;
mod priorities;
mod process;
mod record;
mod seal;
mod systemd;
mod text;
mod translate;
mod webassembly;

use std::{
    fs,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
};

use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus};
use silo_isolation::{ExitStatus, Signal, Terminal};

pub use create::{CreateOptions, Made, process_of, unraisable_capabilities};
pub use error::{Error, Result};
pub use exec::{ExecOptions, Joined};
pub use features::{default_spec, features};
pub use notify::Notifications;
pub use oci_spec::runtime as spec;
pub(crate) use plan::{
    ContainerPlan, DevicePlan, HookPlan, JoinedNamespace, LinkPlan, MountIds, MountPlan,
    MountSource, RootDirectory,
};
pub use record::{State, Status};
pub use seal::seal;
pub use systemd::Manager;
pub use webassembly::{WebAssembly, webassembly};

use crate::terminal::Pty;

/// The containers whose records are in one directory.
#[derive(Clone, Debug)]
pub struct Runtime {
    root: PathBuf,
    /// Whether the cgroups of new containers are systemd's to make.
    systemd: bool,
    /// Who makes them then.
    manager: Manager,
}

impl Runtime {
    /// Those of `root`, which need not be there yet. Touches nothing.
    #[must_use]
    pub const fn new(root: PathBuf, systemd: bool, manager: Manager) -> Self {
        Self { root, systemd, manager }
    }
}

/// The terminal of a process, for all who copy from it and to it.
pub type SharedTerminal = Arc<dyn Terminal + Send + Sync>;

fn shared(master: OwnedFd) -> SharedTerminal {
    Arc::new(Pty::new(master))
}

/// Has a terminal print lines as they are, without carriage returns: what is printed is for no terminal.
fn print_plainly(terminal: &OwnedFd) -> Result<()> {
    let set = || -> std::result::Result<(), rustix::io::Errno> {
        let mut modes = rustix::termios::tcgetattr(terminal)?;
        modes.output_modes.remove(rustix::termios::OutputModes::ONLCR);
        rustix::termios::tcsetattr(terminal, rustix::termios::OptionalActions::Now, &modes)
    };
    set().map_err(Error::step("set the terminal"))
}

/// Waits for a child of this process.
fn wait(process: BorrowedFd<'_>) -> Result<ExitStatus> {
    let wait = || rustix::process::waitid(WaitId::PidFd(process), WaitIdOptions::EXITED);
    let ended = rustix::io::retry_on_intr(wait).map_err(Error::step("wait for the container"))?;
    let signal = ended.as_ref().and_then(WaitIdStatus::terminating_signal);
    let signal = signal.and_then(|number| u8::try_from(number).ok());
    Ok(match (ended.as_ref().and_then(WaitIdStatus::exit_status), signal) {
        (Some(code), _) => ExitStatus::Exited(code.to_le_bytes()[0]),
        (None, signal) => ExitStatus::Signaled(
            signal.and_then(|number| Signal::from_number(number).ok()).unwrap_or(Signal::KILL),
        ),
    })
}

/// The number of a process on the host.
fn number_of(process: &OwnedFd) -> Result<i32> {
    let path = format!("/proc/self/fdinfo/{}", process.as_raw_fd());
    let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    number.filter(|number| *number > 0).ok_or(Error::NotRunning)
}
