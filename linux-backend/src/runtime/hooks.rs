//! Programs of the configuration that run on the host (config.md, "POSIX-platform Hooks").

use std::{
    io::Write as _,
    os::fd::{AsFd as _, OwnedFd},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use oci_spec::runtime::Hook;
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::MemfdFlags,
    process::{Pid, PidfdFlags},
};

use super::{Error, Result, State};

/// Runs each in turn with the container's state as its standard input; one that fails ends it.
pub(super) fn run(stage: &'static str, hooks: Option<&Vec<Hook>>, state: &State) -> Result<()> {
    for (index, hook) in hooks.into_iter().flatten().enumerate() {
        let failed = |why: String| Error::Hook { stage, index, why };
        run_one(hook, state).map_err(|why| failed(why.to_string()))?.map_err(failed)?;
    }
    Ok(())
}

/// Runs each, whatever becomes of the one before; tells what went wrong first.
pub(super) fn run_all(stage: &'static str, hooks: Option<&Vec<Hook>>, state: &State) -> Result<()> {
    let mut first = Ok(());
    for (index, hook) in hooks.into_iter().flatten().enumerate() {
        let failed = |why: String| Error::Hook { stage, index, why };
        let done = run_one(hook, state).map_err(|why| failed(why.to_string()));
        let done = done.and_then(|ended| ended.map_err(failed));
        first = first.and(done);
    }
    first
}

fn run_one(hook: &Hook, state: &State) -> std::io::Result<Result<(), String>> {
    use std::os::unix::process::CommandExt as _;
    let args = hook.args().as_deref().unwrap_or_default();
    let mut command = Command::new(hook.path());
    if let Some(name) = args.first() {
        command.arg0(name);
    }
    command.args(args.iter().skip(1));
    // One that says nothing of its environment has this process's, as under runc.
    if let Some(env) = hook.env() {
        let variables = env.iter().filter_map(|variable| variable.split_once('='));
        command.env_clear().envs(variables);
    }
    let input = input(state)?;
    let mut child =
        command.stdin(Stdio::from(input)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let said = child.stderr.take().map(|mut stderr| {
        thread::spawn(move || {
            let mut text = String::new();
            let _ = std::io::Read::read_to_string(&mut stderr, &mut text);
            text
        })
    });
    let timeout = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok());
    let Some(status) = wait(&mut child, timeout.map(Duration::from_secs))? else {
        return Ok(Err(format!("it took longer than {} s", timeout.unwrap_or(0))));
    };
    if status.success() {
        return Ok(Ok(()));
    }
    let said = said.and_then(|said| said.join().ok()).unwrap_or_default();
    Ok(Err(format!("{status}, stderr: {}", said.trim())))
}

fn wait(
    child: &mut Child,
    timeout: Option<Duration>,
) -> std::io::Result<Option<std::process::ExitStatus>> {
    let Some(timeout) = timeout else { return child.wait().map(Some) };
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(std::io::ErrorKind::NotFound)?;
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let end = Instant::now() + timeout;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(std::io::Error::other)?;
        let mut events = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut events, Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(0) => {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            Ok(_) => return child.wait().map(Some),
        }
    }
}

/// The state as a file that is read from the start.
pub(super) fn input(state: &State) -> std::io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create("state", MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(memory);
    file.write_all(&serde_json::to_vec(state)?)?;
    std::io::Seek::rewind(&mut file)?;
    Ok(file.into())
}
