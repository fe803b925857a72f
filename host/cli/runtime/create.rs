//! `create` and `run`.

use std::{
    io::{IsTerminal as _, Write as _, stderr, stdout},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use jiff::Timestamp;
use silo_linux::runtime::{CreateOptions, Made, Runtime};

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
    /// Give the container that many descriptors beside the standard three
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
}

impl CreateArgs {
    fn options(self, detached: bool) -> Result<CreateOptions> {
        let now = Timestamp::now().to_string();
        check_preserved(self.preserve_fds)?;
        Ok(CreateOptions {
            bundle: self.bundle,
            console_socket: self.console_socket,
            pidfd_socket: self.pidfd_socket,
            pid_file: self.pid_file,
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            preserve_fds: self.preserve_fds,
            detached,
            plain_output: !stdout().is_terminal(),
            now,
        })
    }
}

/// What is to be given must be there: a descriptor of this program's own is never given instead.
pub(super) fn check_preserved(count: u32) -> Result<()> {
    let missing = (3..count.saturating_add(3))
        .find(|number| !PathBuf::from(format!("/proc/self/fd/{number}")).exists());
    missing.map_or(Ok(()), |number| {
        let what = format!("--preserve-fds {count}: there is no open descriptor {number}");
        Err(Failure::new(what).with_code(1))
    })
}

/// Makes a container for the program that it has, whatever that is for.
fn make(runtime: &Runtime, id: &str, options: &CreateOptions) -> Result<Made> {
    let made = match webassembly::of(&options.bundle)? {
        Some(guest) => runtime.create_with(id, options, Some(&|| guest.run()))?,
        None => runtime.create(id, options)?,
    };
    if !made.unknown_capabilities.is_empty() {
        ignoring(&made.unknown_capabilities);
    }
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

impl Create {
    pub(super) fn run(self, runtime: &Runtime) -> Result<ExitCode> {
        make(runtime, &self.id, &self.options.options(true)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Run {
    pub(super) fn run(self, runtime: &Runtime) -> Result<ExitCode> {
        let Self { options, detach, keep, id, no_subreaper: _ } = self;
        let options = options.options(detach)?;
        if detach {
            make(runtime, &id, &options)?;
            runtime.start(&id).inspect_err(|_| {
                // The failure to be told is that of the start.
                let _ = runtime.delete(&id, true);
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        let signals = Signals::catch()
            .map_err(|source| Failure::caused("cannot catch signals", source).with_code(1))?;
        let made = make(runtime, &id, &options)?;
        let started = runtime.start(&id).map_err(Failure::from);
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
