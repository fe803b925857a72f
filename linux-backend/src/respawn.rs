//! This program once more, without the cost of execve(2).
//!
//! A new process of a large program spends a millisecond on being loaded and relocated; a copy of a
//! small one takes a tenth of that. What execve(2) does besides is done here: no handler, no
//! descriptor and no argument of the first process stays in the copy.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::FileExt as _, fs::MetadataExt as _},
    },
};

use rustix::process::Pid;

use silo_isolation::{Error, Result};

use crate::{
    plan::Arguments,
    record::stat_field,
    sys::{self, Streams},
};

/// More memory of its own than this, in bytes, and a new process is the better one: what the
/// first has freed would be the copy's for as long as it lives.
const MOST_MEMORY: u64 = 3 << 20;

/// Starts a copy of this process that runs `main` with `args`, which everyone sees as its command
/// line (`args[0]` is the program's name), between `stdin` and `stdout`; it ends with the
/// status that `main` returns.
///
/// `None` where a copy would not do: this process has several threads, of which a copy has
/// but one, or much memory. The statics of this program keep their values.
///
/// # Errors
///
/// As fork(2), and where /proc is not mounted.
pub fn respawn(
    args: &[OsString],
    main: fn(&[OsString]) -> u8,
    stdin: OwnedFd,
    stdout: OwnedFd,
) -> io::Result<Option<Pid>> {
    if !is_single_threaded()? || own_memory()? > MOST_MEMORY {
        return Ok(None);
    }
    let stderr = File::options().write(true).open("/dev/null")?.into();
    let streams = Streams { stdin, stdout, stderr };
    let copy = || {
        // Only those who look at processes are told less.
        let _ = set_command_line(args);
        main(args)
    };
    sys::fork(streams, copy).map(Some)
}

/// By the links of `/proc/self/task`: two, and one for each thread (`proc_pid_task(5)`).
/// Does `work` in a copy of this process, which has no other thread, and waits for what it returns:
/// threads that it starts end with the copy.
pub fn apart(work: impl FnOnce() -> u8) -> io::Result<u8> {
    if !is_single_threaded()? {
        return Err(io::Error::other("this process has several threads"));
    }
    let streams = Streams {
        stdin: io::stdin().as_fd().try_clone_to_owned()?,
        stdout: io::stdout().as_fd().try_clone_to_owned()?,
        stderr: io::stderr().as_fd().try_clone_to_owned()?,
    };
    let pid = sys::fork(streams, work)?;
    let wait = || rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    let ended = rustix::io::retry_on_intr(wait)?;
    let code = ended.and_then(|(_, status)| status.exit_status());
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

fn is_single_threaded() -> io::Result<bool> {
    Ok(fs::metadata("/proc/self/task")?.nlink() == 3)
}

/// Bytes that are no file's (`proc_pid_statm(5)`).
fn own_memory() -> io::Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let mut pages = statm.split(' ').skip(1).map_while(|field| field.parse::<u64>().ok());
    let (Some(resident), Some(shared)) = (pages.next(), pages.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    Ok(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

/// Where this process's arguments are, for a copy that covers them.
pub(crate) fn arguments() -> Result<Arguments> {
    own_arguments().map_err(Error::file("read", "/proc/self/stat"))
}

fn own_arguments() -> io::Result<Arguments> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // Fields 48 and 49 of `proc_pid_stat(5)`.
    match (stat_field(&stat, 48), stat_field(&stat, 49)) {
        (Some(start), Some(end)) if start <= end => Ok(Arguments { start, end }),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Writes over this process's arguments, of which those of `silo run` can be secret, and
/// would be there to read for everyone as long as the container runs.
fn set_command_line(args: &[OsString]) -> io::Result<()> {
    let Arguments { start, end } = own_arguments()?;
    let room = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
    let terminated = args.iter().flat_map(|arg| [arg.as_bytes(), b"\0"].concat());
    let mut line: Vec<u8> = terminated.take(room.saturating_sub(1)).collect();
    line.resize(room, 0);
    File::options().write(true).open("/proc/self/mem")?.write_all_at(&line, start)
}
