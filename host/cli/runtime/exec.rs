//! `exec`.

use std::{
    collections::HashSet,
    fs,
    io::{IsTerminal as _, stdout},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use silo_linux::runtime::{ExecOptions, Runtime, spec, unraisable_capabilities};

use super::{
    create::{ignoring, not_raising},
    foreground,
};
use crate::{
    failure::{Failure, Result},
    signals::Signals,
};

/// As runc, where a process was not run at all.
const NOT_RUN: u8 = 255;

/// Run a further process in a container
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of a command line")]
pub(super) struct Exec {
    /// Send the terminal to this socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Send a handle on it (a pidfd) to this socket
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Write the number of the process to FILE
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Do not wait for it
    #[arg(short, long)]
    detach: bool,
    /// Read the process from FILE, as config.json has it
    #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
    process: Option<PathBuf>,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Its working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Its environment beside the container's
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Whom it runs as
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// Further groups
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,
    /// Capabilities beside the container's
    #[arg(short, long, value_name = "CAPABILITY")]
    cap: Vec<String>,
    /// Keep its programs from gaining privileges
    #[arg(long)]
    no_new_privs: bool,
    /// Its profile of `AppArmor`
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// Its label of `SELinux`
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// Give it that many descriptors beside the standard three, of those that are open
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// Put it in this cgroup below the container's own; of version 1 perhaps in some hierarchies only
    #[arg(long, value_name = "[CONTROLLER,...:]PATH")]
    cgroup: Vec<String>,
    /// Let it wait where the container is paused
    #[arg(long)]
    ignore_paused: bool,
    /// The container's name
    #[arg(value_name = "ID")]
    id: String,
    /// The program and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    #[arg(required_unless_present = "process")]
    command: Vec<String>,
}

impl Exec {
    pub(super) fn run(self, runtime: &Runtime) -> Result<ExitCode> {
        self.exec(runtime).map_err(|failure| failure.with_code(NOT_RUN))
    }

    fn exec(self, runtime: &Runtime) -> Result<ExitCode> {
        let process = match &self.process {
            Some(file) => read(file)?,
            None => self.process(runtime.first_process(&self.id)?)?,
        };
        let signals =
            Signals::catch().map_err(|source| Failure::caused("cannot catch signals", source))?;
        let options = ExecOptions {
            console_socket: self.console_socket,
            pidfd_socket: self.pidfd_socket,
            pid_file: self.pid_file,
            preserve_fds: self.preserve_fds,
            detached: self.detach,
            plain_output: !stdout().is_terminal(),
            ignore_paused: self.ignore_paused,
            cgroups: self.cgroup,
        };
        not_raising(&unraisable_capabilities(&process));
        let joined = Arc::new(runtime.exec(&self.id, &process, &options)?);
        if self.detach {
            return Ok(ExitCode::SUCCESS);
        }
        let process = Arc::clone(&joined);
        let signal = move |number| {
            // One that has ended is about to be heard of.
            let _ = process.signal(number);
        };
        foreground::stay(joined.terminal(), signals, signal, || Ok(joined.wait()?))
    }

    /// The container's first process with what is asked for in the place of what it has.
    fn process(&self, mut process: spec::Process) -> Result<spec::Process> {
        process.set_args(Some(self.command.clone()));
        process.set_terminal(Some(self.tty));
        if let Some(cwd) = &self.cwd {
            process.set_cwd(cwd.clone());
        }
        let mut env = process.env().clone().unwrap_or_default();
        env.extend(self.env.iter().cloned());
        process.set_env(Some(env));
        if self.no_new_privs {
            process.set_no_new_privileges(Some(true));
        }
        if self.apparmor.is_some() {
            process.set_apparmor_profile(self.apparmor.clone());
        }
        if self.process_label.is_some() {
            process.set_selinux_label(self.process_label.clone());
        }
        process.set_user(self.user(process.user().clone())?);
        if !self.cap.is_empty() {
            let sets = process.capabilities().clone().unwrap_or_default();
            process.set_capabilities(Some(self.capabilities(sets)));
        }
        Ok(process)
    }

    fn user(&self, mut user: spec::User) -> Result<spec::User> {
        if let Some(text) = &self.user {
            let (uid, gid) =
                text.split_once(':').map_or((text.as_str(), None), |(uid, gid)| (uid, Some(gid)));
            let number = |text: &str| {
                text.parse().map_err(|_| Failure::new(format!("--user: `{text}` is no number")))
            };
            user.set_uid(number(uid)?);
            user.set_gid(gid.map(number).transpose()?.unwrap_or(0));
        }
        if !self.additional_gids.is_empty() {
            let mut groups = user.additional_gids().clone().unwrap_or_default();
            groups.extend(&self.additional_gids);
            user.set_additional_gids(Some(groups));
        }
        Ok(user)
    }

    /// As runc: those that are added are in every set but the ambient one, and in that where the
    /// container has any.
    fn capabilities(&self, mut sets: spec::LinuxCapabilities) -> spec::LinuxCapabilities {
        let mut added = HashSet::new();
        for name in &self.cap {
            let quoted = serde_json::Value::String(name.clone());
            match serde_json::from_value(quoted) {
                Ok(capability) => {
                    added.insert(capability);
                }
                Err(_) => ignoring(&[name]),
            }
        }
        let with = |set: &Option<spec::Capabilities>| -> Option<spec::Capabilities> {
            Some(set.iter().flatten().chain(&added).copied().collect())
        };
        let bounding = with(sets.bounding());
        sets.set_bounding(bounding);
        let effective = with(sets.effective());
        sets.set_effective(effective);
        let permitted = with(sets.permitted());
        sets.set_permitted(permitted);
        if sets.ambient().as_ref().is_some_and(|ambient| !ambient.is_empty()) {
            let (inheritable, ambient) = (with(sets.inheritable()), with(sets.ambient()));
            sets.set_inheritable(inheritable);
            sets.set_ambient(ambient);
        }
        sets
    }
}

fn read(file: &PathBuf) -> Result<spec::Process> {
    let failed = || format!("cannot read {} as a process", file.display());
    let bytes = fs::read(file).map_err(|source| Failure::caused(failed(), source))?;
    silo_linux::runtime::process_of(&bytes).map_err(|source| Failure::caused(failed(), source))
}
