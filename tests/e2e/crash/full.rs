//! A disk that is full at every point of every operation: blocks and inodes, one more each time.

use std::{path::PathBuf, process::Command};

use super::operations::{OPERATIONS, On, Operation, Prepared, View, assert_no_leftovers};
use crate::support::{
    host::{needs_root, text},
    wait_until,
};

/// The smallest piece of a tmpfs, in bytes.
const PAGE: u64 = 4096;
/// More than any operation takes of either.
const PLENTY: u64 = 1 << 14;

/// A file system in memory at the store's place, gone when this is dropped.
struct Disk {
    place: PathBuf,
}

impl Disk {
    fn new(place: PathBuf) -> Self {
        std::fs::create_dir_all(&place).expect("a place to mount");
        mount(&["-t", "tmpfs", "-o", "size=64m,mode=700", "none", text(&place)]);
        Self { place }
    }

    /// Leaves room for so many pages and inodes more than are used now.
    fn leave(&self, pages: u64, inodes: u64) {
        let used = |columns| {
            let mut df = Command::new("df");
            df.args(["-B1", columns, text(&self.place)]);
            let said = String::from_utf8(df.output().expect("df").stdout).expect("text");
            said.lines().last().and_then(|line| line.trim().parse::<u64>().ok()).expect("a number")
        };
        // None at all would be no limit.
        let size = (used("--output=used") + pages * PAGE).max(PAGE);
        let count = used("--output=iused") + inodes;
        let options = format!("remount,size={size},nr_inodes={count}");
        mount(&["-o", &options, text(&self.place)]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.place).status();
    }
}

#[track_caller]
fn mount(args: &[&str]) {
    assert!(Command::new("mount").args(args).status().expect("mount").success(), "{args:?}");
}

/// The operation with so much room; whether it succeeded.
fn with_room(
    prepared: &Prepared,
    operation: &Operation,
    views: &(View, View),
    room: (u64, u64),
) -> bool {
    let (pages, inodes) = room;
    let (before, after) = views;
    let silo = &prepared.silo;
    let what = format!("silo {} with {pages} pages, {inodes} inodes", operation.args.join(" "));
    prepared.empty();
    let disk = Disk::new(silo.root());
    prepared.fill(operation.on);
    disk.leave(pages, inodes);
    let ended = silo.run(operation.args);
    wait_until("supervisors to end", || silo.processes().is_empty());
    if ended.code != 0 {
        let expected = if operation.args[0] == "run" { 125 } else { 1 };
        assert!([1, expected].contains(&ended.code), "{what}: {ended:#?}");
        // overlayfs mounts read-only where it cannot make its work directory (ovl_make_workdir).
        let read_only = operation.on == On::Linux && ended.stderr.contains("Read-only file system");
        let full = ended.stderr.contains("No space left on device");
        assert!(full || read_only, "{what}: {ended:#?}");
    }
    disk.leave(PLENTY, PLENTY);
    prepared.assert_whole(&what, &ended, before, after);
    if ended.code != 0 && View::of(silo) == *before {
        silo.ok(operation.args);
        assert_eq!(&View::of(silo), after, "{what}, and then with room");
        assert_no_leftovers(&silo.root(), &what);
    }
    ended.code == 0
}

#[test]
fn every_command_succeeds_or_fails_whole_whatever_room_there_is() {
    if !needs_root() {
        return;
    }
    let prepared = Prepared::new();
    for operation in OPERATIONS.iter().filter(|one| one.on != On::Linux || prepared.linux) {
        let views = prepared.views(operation);
        let pages =
            (0..PLENTY).find(|pages| with_room(&prepared, operation, &views, (*pages, PLENTY)));
        let inodes =
            (0..PLENTY).find(|inodes| with_room(&prepared, operation, &views, (PLENTY, *inodes)));
        eprintln!("silo {}: {pages:?} pages, {inodes:?} inodes", operation.args.join(" "));
    }
}
