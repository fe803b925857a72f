//! `create` and `run`.

use std::{
    env,
    io::{IsTerminal as _, Write as _, stderr, stdout},
    path::PathBuf,
    process::ExitCode,
    thread,
};

use clap::Args;
use jiff::Timestamp;
use silo_linux::runtime::{CreateOptions, Made, Notifications, Runtime};

use super::{foreground, webassembly};
use crate::{
    failure::{Failure, Result},
    signals::Signals,
};

/// Make a container that waits to be started
#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    options: CreateArgs,
    /// The container's name
    #[arg(value_name = "ID")]
    id: String,
}

/// Make a container, start it, and unless detached wait for it and delete it
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    options: CreateArgs,
    /// Do not wait for it
    #[arg(short, long)]
    detach: bool,
    /// Do not delete it
    #[arg(long)]
    keep: bool,
    /// Accepted: no process of the container's but its first is ever this one's child
    #[arg(long)]
    no_subreaper: bool,
    /// The container's name
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The directory of config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Send the terminal to this socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Send a handle on the container's process (a pidfd) to this socket
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Write the number of the container's process to FILE
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Change the root by chroot(2), as an initramfs needs it; weaker
    #[arg(long)]
    no_pivot: bool,
    /// Let the container have this process's session keyring
    #[arg(long)]
    no_new_keyring: bool,
    /// Give the container that many descriptors beside the standard three, of those that are open
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
}

impl CreateArgs {
    fn options(self, detached: bool) -> CreateOptions {
        let now = Timestamp::now().to_string();
        let listen_fds = sockets();
        CreateOptions {
            bundle: self.bundle,
            console_socket: self.console_socket,
            pidfd_socket: self.pidfd_socket,
            pid_file: self.pid_file,
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            preserve_fds: self.preserve_fds.saturating_add(listen_fds),
            listen_fds,
            listen_names: env::var("LISTEN_FDNAMES").ok().filter(|_| listen_fds > 0),
            notifies: notified().is_some(),
            detached,
            plain_output: !stdout().is_terminal(),
            now,
            ignoring: Some(ignoring),
        }
    }
}

/// How many descriptors from 3 on are sockets for the program (`sd_listen_fds(3)`), unless they are for
/// another process than this.
fn sockets() -> u32 {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let others = number("LISTEN_PID").is_some_and(|pid| pid != std::process::id());
    number("LISTEN_FDS").filter(|_| !others).unwrap_or(0)
}

/// Where somebody waits to hear that the container is ready (`sd_notify(3)`).
pub(super) fn notified() -> Option<PathBuf> {
    env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Starts a container; gives what is still to be passed on of what it says.
pub(super) fn start(runtime: &Runtime, id: &str) -> Result<Option<Notifications>> {
    let notifications = match notified() {
        Some(host) => runtime.notifications(id, &host)?,
        None => None,
    };
    runtime.start(id)?;
    Ok(notifications)
}

/// Makes a container for the program that it has, whatever that is for.
fn make(runtime: &Runtime, id: &str, options: &CreateOptions) -> Result<Made> {
    let made = match webassembly::of(&options.bundle)? {
        Some(guest) => runtime.create_with(id, options, Some(&|| guest.run()))?,
        None => runtime.create(id, options)?,
    };
    not_raising(&made.unraisable_capabilities);
    Ok(made)
}

/// Tells of capabilities that nobody knows, as runc does.
pub(super) fn ignoring<T: AsRef<str>>(names: &[T]) {
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    let names = names.join(" ");
    // Where stderr is gone there is nobody to tell.
    let what = format!("silo: ignoring unknown or unavailable capabilities: [{names}]\n");
    let _ = stderr().lock().write_all(what.as_bytes());
}

/// Tells of capabilities that are not ambient, as runc does.
pub(super) fn not_raising(names: &[String]) {
    for name in names {
        let why = "it is not both permitted and inheritable";
        let what = format!("silo: can't raise ambient capability {name}: {why}\n");
        let _ = stderr().lock().write_all(what.as_bytes());
    }
}

impl Create {
    pub(super) fn run(self, runtime: &Runtime) -> Result<ExitCode> {
        make(runtime, &self.id, &self.options.options(true))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Run {
    pub(super) fn run(self, runtime: &Runtime) -> Result<ExitCode> {
        let Self { options, detach, keep, id, no_subreaper: _ } = self;
        let options = options.options(detach);
        if detach {
            make(runtime, &id, &options)?;
            let notifications = start(runtime, &id).inspect_err(|_| {
                // The failure to be told is that of the start.
                let _ = runtime.delete(&id, true);
            })?;
            if let Some(notifications) = notifications {
                notifications.forward()?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let signals = Signals::catch()
            .map_err(|source| Failure::caused("cannot catch signals", source).with_code(1))?;
        let made = make(runtime, &id, &options)?;
        let started = start(runtime, &id).map(|notifications| {
            if let Some(notifications) = notifications {
                // Who is not told waits in vain; the container runs all the same.
                thread::spawn(move || notifications.forward());
            }
        });
        let kill = {
            let (runtime, id) = (runtime.clone(), id.clone());
            move |signal: u8| {
                // One that has ended is about to be heard of.
                let _ = runtime.kill(&id, signal, false);
            }
        };
        let ended = started
            .and_then(|()| foreground::stay(made.terminal(), signals, kill, || Ok(made.wait()?)));
        if (ended.is_err() || !keep)
            && let Err(error) = runtime.delete(&id, true)
        {
            // How the container ended is what is asked for.
            let _ = Failure::from(error).report();
        }
        ended
    }
}
