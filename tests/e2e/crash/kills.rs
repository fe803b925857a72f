//! kill -9 before every system call that changes something, and at any time.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    Chance,
    operations::{OPERATIONS, On, Operation, Prepared},
    rounds,
};
use crate::support::{Ended, ended, host};

/// The system calls that leave something on a disk, in a process table, or in the kernel. Files
/// that are opened are left out: what is opened to be written is written or locked next.
const CALLS: &str = "write,pwrite64,writev,sendto,sendmsg,ftruncate,fallocate,copy_file_range,\
    sendfile,fsync,fdatasync,syncfs,flock,mkdir,mkdirat,mknod,mknodat,symlink,symlinkat,link,linkat,\
    rename,renameat,renameat2,unlink,unlinkat,rmdir,chmod,fchmod,fchmodat,chown,fchown,lchown,\
    fchownat,setxattr,fsetxattr,lsetxattr,utimensat,bind,listen,mount,umount2,pivot_root,clone,\
    clone3,vfork,execve,unshare,setns,exit_group";

/// An operation of no more system calls than this is killed before each of them.
const QUICK: u64 = 26;

/// How many stores are worked on at once; much of the time goes by waiting.
const WORKERS: usize = 4;

#[track_caller]
fn has_strace() -> bool {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !found {
        host::leave_out("there is no strace");
    }
    found
}

/// `command` under strace with these arguments; what strace notes goes to the file `strace`.
fn traced(prepared: &Prepared, args: &[String], operation: &Operation) -> Ended {
    let plain = prepared.silo.command(operation.args);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(prepared.silo.home().join("strace")).args(args);
    command.arg(plain.get_program()).args(plain.get_args());
    command.env_clear().current_dir(prepared.silo.home()).stdin(Stdio::null());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    ended(&command.output().expect("strace starts"))
}

/// The system calls that the operation's processes make, each with the most that one of them does.
fn calls(prepared: &Prepared, operation: &Operation) -> BTreeMap<String, usize> {
    prepared.reset(operation.on);
    let ended = traced(prepared, &[format!("--trace={CALLS}")], operation);
    assert_eq!(ended.code, 0, "{operation:?}: {ended:#?}");
    let notes = fs::read_to_string(prepared.silo.home().join("strace")).expect("strace's notes");
    let mut by_process: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in notes.lines() {
        let call = line.split_once(' ').map(|(process, rest)| (process, rest.trim_start()));
        if let Some((process, call)) = call
            && let Some((name, _)) = call.split_once('(')
            && CALLS.split(',').any(|known| known.trim() == name)
        {
            *by_process.entry((process, name)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, name), count) in by_process {
        let known = most.entry(name.to_owned()).or_insert(0);
        *known = count.max(*known);
    }
    most
}

/// Kills each process of the operation before each of its calls, or where those are many, before as
/// many of them as there are rounds, by chance. Says how often.
fn kill_at_calls(prepared: &Prepared, operation: &Operation, chance: &mut Chance) -> usize {
    let (before, after) = prepared.views(operation);
    let calls = calls(prepared, operation);
    let total = calls.values().sum::<usize>() as u64;
    let mut killed = 0;
    for (call, count) in calls {
        for n in 1..=count {
            if chance.below(total) >= rounds(QUICK) {
                continue;
            }
            prepared.reset(operation.on);
            let inject = format!("--inject={call}:signal=KILL:when={n}");
            let ended = traced(prepared, &[format!("--trace={call}"), inject], operation);
            let what = format!("silo {} killed before {call} {n}", operation.args.join(" "));
            prepared.assert_whole(&what, &ended, &before, &after);
            killed += 1;
        }
    }
    killed
}

/// Runs `work` on each operation that can be had here, by some workers at once.
fn for_each_operation(work: impl Fn(&Prepared, &Operation) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let prepared = Prepared::new();
                while let Some(operation) = OPERATIONS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if operation.on != On::Linux || prepared.linux {
                        work(&prepared, operation);
                    }
                }
            });
        }
    });
}

#[test]
fn whoever_is_killed_before_any_system_call_leaves_the_old_or_the_new() {
    if !has_strace() {
        return;
    }
    let seed = Chance::new();
    for_each_operation(|prepared, operation| {
        let begin = Instant::now();
        let killed = kill_at_calls(prepared, operation, &mut seed.clone());
        eprintln!("silo {}: {killed} kills, {:?}", operation.args.join(" "), begin.elapsed());
    });
}

/// Kills one of the operation's processes after some time.
fn kill_some_time(prepared: &Prepared, operation: &Operation, chance: &mut Chance) -> Ended {
    let mut child = prepared.silo.spawn(operation.args);
    drop(child.stdin.take());
    // Most commands take a few milliseconds.
    thread::sleep(Duration::from_micros(chance.below(40_000)));
    let mut victims = prepared.silo.processes();
    if chance.below(2) == 0 {
        victims = vec![child.id()];
    }
    for victim in victims {
        let _ = Command::new("kill").args(["-KILL", &victim.to_string()]).output();
    }
    ended(&child.wait_with_output().expect("it ends"))
}

#[test]
fn whoever_is_killed_at_any_time_leaves_the_old_or_the_new() {
    let prepared = Prepared::new();
    let mut chance = Chance::new();
    let views: Vec<_> = OPERATIONS
        .iter()
        .filter(|operation| operation.on != On::Linux || prepared.linux)
        .map(|operation| (operation, prepared.views(operation)))
        .collect();
    for round in 0..rounds(60) {
        let which = usize::try_from(chance.below(views.len() as u64)).unwrap();
        let (operation, (before, after)) = &views[which];
        prepared.reset(operation.on);
        let ended = kill_some_time(&prepared, operation, &mut chance);
        let what = format!("round {round}: silo {} killed", operation.args.join(" "));
        prepared.assert_whole(&what, &ended, before, after);
    }
}
