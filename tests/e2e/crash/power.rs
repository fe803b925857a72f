//! The power fails: the store lies on a real ext4, on a disk that remembers every write and flush.
//! Afterwards the disk is made as it would be, had the power failed at each of them, and opened.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    Chance,
    operations::{On, Prepared, View, assert_no_leftovers},
    recorder::{Event, Recorder, apply},
    rounds,
};
use crate::support::{
    host::{self, needs_root, text},
    layout::digest,
    visible_entries, wait_until,
};

/// Bytes of the disk.
const SIZE: u64 = 32 << 20;
/// What of the disk is written or not when the power fails, in bytes.
const BLOCK: usize = 4096;

/// One after the other, each on what the ones before have left.
const STEPS: &[&[&str]] = &[
    &["load", "-q", "-i", "more"],
    &["tag", "more", "again"],
    &["create", "--name", "new", "guest"],
    &["import", "root.tar", "imported"],
    &["cp", "root.tar", "new:/"],
    &["commit", "new", "committed"],
    &["image", "squash", "guest", "squashed"],
    &["run", "--rm", "guest"],
    &["start", "-a", "new"],
    &["rmi", "spare"],
    &["manifest", "create", "both", "guest"],
    &["run", "--name", "ran", "guest"],
    &["rename", "ran", "renamed"],
    &["rm", "old"],
    &["rmi", "more"],
    &["rmi", "again"],
    &["load", "-q", "-i", "more.tar.gz"],
    &["create", "--rm", "--name", "short", "guest"],
    &["rm", "renamed", "new", "short"],
    &["image", "prune", "-f"],
];

/// A file system of a file or device, gone when this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(options: &str, device: &Path, place: &Path) -> Self {
        fs::create_dir_all(place).expect("a place to mount");
        let mut mount = Command::new("mount");
        mount.args(["-t", "ext4", "-o", &format!("loop{options}"), text(device), text(place)]);
        assert!(mount.status().expect("mount").success(), "{} is mounted", device.display());
        Self(place.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status().is_ok_and(|done| done.success());
        if !done {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
}

/// What was done, and what there was to see after each step.
struct Recording {
    /// The disk before the first step.
    disk: Vec<u8>,
    /// What came to it from then on; a mark after each step.
    events: Vec<Event>,
    /// What the store showed before the first step and after each.
    views: Vec<View>,
    /// Each layer that ever was, and what it holds.
    layers: BTreeMap<String, String>,
}

fn make_file_system(path: &Path) -> Vec<u8> {
    fs::File::create(path).and_then(|file| file.set_len(SIZE)).expect("a file for the disk");
    let mut make = Command::new("mkfs.ext4");
    make.args(["-q", "-F", "-b", "4096", text(path)]);
    assert!(make.status().expect("mkfs.ext4").success());
    fs::read(path).expect("the disk")
}

fn record(prepared: &Prepared, options: &str) -> Recording {
    let silo = &prepared.silo;
    prepared.empty();
    let mut disk = make_file_system(&silo.home().join("new-disk"));
    let recorder = Recorder::new(disk.clone(), &silo.home().join("recorder"));
    let mounted = Mounted::new(options, &recorder.file(), &silo.root());
    prepared.fill(On::Store);
    assert!(Command::new("sync").arg("-f").arg(silo.root()).status().expect("sync").success());
    let begin = recorder.events().len();
    let mut views = vec![View::of(silo)];
    let mut layers = fingerprints(&silo.root());
    for step in STEPS {
        silo.ok(step);
        recorder.mark();
        wait_until("supervisors to end", || silo.processes().is_empty());
        views.push(View::of(silo));
        layers.extend(fingerprints(&silo.root()));
    }
    drop(mounted);
    let mut events = recorder.events();
    let rest = events.split_off(begin);
    write_all(&mut disk, &events);
    Recording { disk, events: rest, views, layers }
}

fn write_all(disk: &mut [u8], events: &[Event]) {
    for event in events {
        if let Event::Write(offset, data) = event {
            apply(disk, *offset, data);
        }
    }
}

/// What each unpacked layer holds.
fn fingerprints(root: &Path) -> BTreeMap<String, String> {
    let layers = visible_entries(&root.join("layers"));
    let fingerprint = |name: String| {
        let mut text = String::new();
        describe(&root.join("layers").join(&name), &mut text);
        (name, text)
    };
    layers.into_iter().map(fingerprint).collect()
}

fn describe(path: &Path, text: &mut String) {
    use std::fmt::Write as _;
    let metadata = fs::symlink_metadata(path).expect("metadata");
    let mode = metadata.permissions().mode();
    write!(text, "{:?} {mode:o} {} {}", path.file_name(), metadata.uid(), metadata.mtime())
        .unwrap();
    if metadata.is_file() {
        writeln!(text, " {}", digest(&fs::read(path).expect("a file"))).unwrap();
    } else if metadata.is_dir() {
        let entries = fs::read_dir(path).expect("a directory");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        writeln!(text, " {}", paths.len()).unwrap();
        for path in &paths {
            describe(path, text);
        }
    }
}

/// How much of what was not flushed is there.
#[derive(Clone, Copy, Debug)]
enum Luck {
    Nothing,
    Some,
    Everything,
}

/// The disk of a machine whose power failed before the flush at the end of `unflushed`.
fn cut(flushed: &[u8], unflushed: &[Event], luck: Luck, chance: &mut Chance) -> Vec<u8> {
    let mut disk = flushed.to_vec();
    for event in unflushed {
        let Event::Write(offset, data) = event else { continue };
        for (n, block) in data.chunks(BLOCK).enumerate() {
            let lucky = match luck {
                Luck::Nothing => false,
                Luck::Some => chance.below(2) == 0,
                Luck::Everything => true,
            };
            if lucky {
                apply(&mut disk, offset + (n * BLOCK) as u64, block);
            }
        }
    }
    disk
}

/// Opens the store of a disk: what it shows must be on the way from one view to the other.
fn assert_opens(prepared: &Prepared, disk: &[u8], recording: &Recording, done: usize, what: &str) {
    let silo = &prepared.silo;
    // Never the same file twice: a loop device lives a little longer than its mount.
    let file = tempfile::NamedTempFile::new_in(silo.home()).expect("a file for the disk");
    fs::write(file.path(), disk).expect("the disk");
    let mounted = Mounted::new("", file.path(), &silo.root());
    let checked = silo.run(&["system", "check"]);
    assert_eq!(checked.code, 0, "{what}: {checked:#?}");
    assert_no_leftovers(&silo.root(), what);
    let view = View::of(silo);
    let before = &recording.views[done];
    let after = recording.views.get(done + 1).unwrap_or(before);
    assert!(view.is_between(before, after), "{what}: {view:#?} is none of {before:#?} {after:#?}");
    for (name, found) in fingerprints(&silo.root()) {
        assert_eq!(Some(&found), recording.layers.get(&name), "{what}: layer {name}");
    }
    let blobs = silo.root().join("blobs/sha256");
    for name in visible_entries(&blobs) {
        let content = fs::read(blobs.join(&name)).expect("a blob");
        assert_eq!(digest(&content), format!("sha256:{name}"), "{what}");
    }
    silo.ok(&["create", "--name", "afterwards", "guest"]);
    silo.ok(&["rm", "afterwards"]);
    drop(mounted);
}

#[track_caller]
fn has_what_it_needs() -> bool {
    let runs = |program| {
        let mut command = Command::new(program);
        command.arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    if !needs_root() {
        return false;
    }
    let found = runs("mkfs.ext4") && Path::new("/dev/fuse").exists();
    if !found {
        host::leave_out("there is no FUSE or no mkfs.ext4");
    }
    found
}

/// Fails the power at some flushes, all of them when there are enough rounds.
fn fail_power(options: &str) {
    if !has_what_it_needs() {
        return;
    }
    let prepared = Prepared::new();
    let recording = record(&prepared, options);
    let mut chance = Chance::new();
    let flushes: Vec<usize> = recording
        .events
        .iter()
        .enumerate()
        .filter_map(|(at, event)| matches!(event, Event::Flush).then_some(at))
        .collect();
    // What is written and marked after the last flush counts too.
    let ends = flushes.iter().copied().chain([recording.events.len()]);
    let share = rounds(60).min(3 * flushes.len() as u64);
    let mut disk = recording.disk.clone();
    let (mut begin, mut done, mut tried) = (0, 0, 0);
    for end in ends {
        let unflushed = &recording.events[begin..end];
        done += unflushed.iter().filter(|event| matches!(event, Event::Mark)).count();
        for luck in [Luck::Nothing, Luck::Some, Luck::Everything] {
            if chance.below(3 * flushes.len() as u64) < share {
                let what = format!("{luck:?} of events {begin} to {end}, {done} steps done");
                let cut = cut(&disk, unflushed, luck, &mut chance);
                assert_opens(&prepared, &cut, &recording, done, &what);
                tried += 1;
            }
        }
        write_all(&mut disk, unflushed);
        begin = end;
    }
    assert_eq!(done, STEPS.len());
    eprintln!("{} flushes, {tried} failures of power", flushes.len());
}

#[test]
fn what_was_reported_done_outlives_a_loss_of_power() {
    fail_power("");
}

#[test]
fn it_does_where_the_journal_holds_no_order_of_data() {
    fail_power(",data=writeback,nodelalloc");
}
