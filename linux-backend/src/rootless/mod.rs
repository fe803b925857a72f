//! More ids than one for an ordinary user: a user namespace in which this process is root.
//!
//! In it user 0 is the user who runs this process, and 1 and up are the ranges that /etc/subuid and
//! /etc/subgid lend that user, as in Podman. Only a program with privileges may map those: newuidmap(1) and
//! newgidmap(1), which have them by their set-user-ID bit. As all of the store is read and written in
//! there, files have the owners on disk that they have in images, seen from inside.

mod extents;
mod subids;

use std::{
    ffi::CString,
    fs::File,
    io::Read as _,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::process::{Pid, WaitOptions};
use silo_isolation::{Error, Result};

pub(crate) use extents::{Extent, OwnIds, hands_ids_on, outer_ids};

use crate::{
    explain,
    plan::Namespaces,
    sys::{self, Strings},
};

/// A program that maps ids, where distributions have it, and the file that says what it may map.
struct Mapper {
    program: CString,
    name: &'static str,
    ranges: Vec<Extent>,
    own: u32,
}

const PLACES: &[&str] = &["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin", "/usr/sbin"];

const HOW: &str = "see newuidmap(1): it needs its set-user-ID bit or file capabilities (`chmod u+s`, or package \
     uidmap again), and the user ranges in /etc/subuid and /etc/subgid that nobody else has \
     (`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`)";

/// Puts this process, which has one thread, into a user namespace in which it has the ids that are lent to
/// its user, if there are any. Root, of whatever namespace, has its ids already.
///
/// Without such ranges, without the programs that map them, and where no user namespaces can be made,
/// nothing changes: a container then has one user.
///
/// # Errors
///
/// Where the programs are there, and fail.
pub fn enter_own_users() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = crate::facts::own_ids();
    let mapper = |name, file, own| {
        let program = find(name)?;
        let ranges = subids::ranges(Path::new(file), uid);
        (!ranges.is_empty()).then_some(Mapper { program, name, ranges, own })
    };
    let users = mapper("newuidmap", "/etc/subuid", uid);
    let groups = mapper("newgidmap", "/etc/subgid", gid);
    match (users, groups) {
        (Some(users), Some(groups)) => enter(&[users, groups]),
        _ => Ok(()),
    }
}

fn find(program: &str) -> Option<CString> {
    let found = PLACES.iter().map(|place| Path::new(place).join(program)).find(|it| it.exists())?;
    CString::new(found.into_os_string().into_encoded_bytes()).ok()
}

/// The mappers start before the namespace is made, outside of which they have their privileges, and wait.
fn enter(mappers: &[Mapper]) -> Result<()> {
    let (waits, go) = pipe()?;
    let (hears, says) = pipe()?;
    let processes = mappers
        .iter()
        .map(|mapper| mapper.start(&waits, &go, says.as_fd()))
        .collect::<Result<Vec<_>>>()?;
    drop((waits, says));
    let made = sys::unshare(Namespaces::USER.0);
    if made.is_ok() {
        rustix::io::write(&go, &[0; 2]).map_err(explain::step("let newuidmap(1) go on"))?;
    }
    // Where nothing was written they end without having done anything.
    drop(go);
    let mut said = String::new();
    // What cannot be read is not told.
    let _ = File::from(hears).read_to_string(&mut said);
    let mut all_mapped = true;
    for process in processes {
        let ended = rustix::process::waitpid(Some(process), WaitOptions::empty())
            .map_err(explain::step("wait for newuidmap(1)"))?;
        all_mapped &= ended.is_some_and(|(_, status)| status.exit_status() == Some(0));
    }
    match (made, all_mapped) {
        // Whether containers can be had is told when one is made.
        (Err(_), _) | (Ok(()), true) => Ok(()),
        (Ok(()), false) => Err(Error::NotPermitted {
            what: "map the user and group ids that are lent to this user".to_owned(),
            hint: HOW.to_owned(),
            source: std::io::Error::other(said.trim().to_owned()),
        }),
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(explain::step("make a pipe"))
}

impl Mapper {
    /// `PROGRAM PID INSIDE OUTSIDE COUNT ...`, of which the first extent is this user.
    fn arguments(&self, pid: u32) -> Vec<String> {
        let mut words = vec![self.name.to_owned(), pid.to_string()];
        let mut extent = |inside: u32, outside: u32, count: u32| {
            words.extend([inside, outside, count].map(|number| number.to_string()));
        };
        extent(0, self.own, 1);
        for range in &self.ranges {
            extent(range.inside, range.outside, range.count);
        }
        words
    }

    /// Copies this process. The copy waits for a byte from `waits`, and becomes the program.
    fn start(&self, waits: &OwnedFd, go: &OwnedFd, says: BorrowedFd<'_>) -> Result<Pid> {
        let strings = |words: Vec<String>| {
            Strings::new(words.into_iter().filter_map(|word| CString::new(word).ok()).collect())
        };
        let args = strings(self.arguments(std::process::id()));
        let env = strings(Vec::new());
        let cloned = sys::fork_plainly();
        if let Some(pid) = cloned.map_err(explain::step("clone a process for newuidmap(1)"))? {
            let none = || explain::step("clone a process")(rustix::io::Errno::INVAL);
            return Pid::from_raw(pid).ok_or_else(none);
        }
        // Nothing in the copy allocates or locks.
        sys::close_copy(go.as_fd());
        let let_go = matches!(rustix::io::read(waits, &mut [0; 1]), Ok(1));
        if let_go && rustix::stdio::dup2_stderr(says).is_ok() {
            let _ = sys::execute(&self.program, &args, &env);
        }
        sys::exit(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_comes_first_and_then_what_is_lent() {
        let range = |inside, outside, count| Extent { inside, outside, count };
        let mapper = Mapper {
            program: c"/bin/newuidmap".to_owned(),
            name: "newuidmap",
            ranges: vec![range(1, 100_000, 10), range(11, 5000, 3)],
            own: 1000,
        };
        let words = mapper.arguments(7).join(" ");
        assert_eq!(words, "newuidmap 7 0 1000 1 1 100000 10 11 5000 3");
    }
}
