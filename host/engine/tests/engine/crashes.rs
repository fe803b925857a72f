//! What dead supervisors and damaged files leave.

use std::{fs, path::PathBuf, process::Command};

use silo_engine::{Attach, CreateOptions, Error, Status};

use crate::{
    life::assert_nothing_left,
    support::{Fixture, Test, options},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_container_that_lost_its_supervisor_has_exited_with_137", lost),
    ("one_that_removes_itself_is_removed_then", lost_and_removed),
    ("a_damaged_record_is_told_and_hides_no_other", damaged),
    ("check_finds_and_removes_leftovers", leftovers),
    ("the_next_engine_removes_what_was_never_made_or_half_removed", orphans),
    ("a_crash_of_the_machine_removes_what_removes_itself", torn),
    ("a_container_that_was_only_created_outlives_a_crash", created_to_last),
    ("who_waits_for_a_container_hears_of_its_supervisors_death", wait_for_lost),
];

/// Kills the supervisor of a container as a crash does.
fn crash(f: &Fixture, id: &str) {
    let supervisor = f.engine.inspect(id).unwrap().state.supervisor.unwrap();
    if cfg!(windows) {
        let id = supervisor.to_string();
        Command::new("taskkill").args(["/F", "/PID", &id]).output().unwrap();
    } else {
        Command::new("kill").args(["-9", &supervisor.to_string()]).status().unwrap();
    }
    // The lock is free when the process is gone.
    let lock = fs::File::open(directory(f, id).join("lock")).unwrap();
    lock.lock().unwrap();
}

fn directory(f: &Fixture, id: &str) -> PathBuf {
    f.root.path().join("containers").join(id)
}

fn lost(f: &Fixture) {
    let id = f.detached(&["sleep"]);
    crash(f, &id);
    let summary = f.another().inspect(&id).unwrap();
    assert_eq!((summary.state.status, summary.state.exit_code), (Status::Exited, Some(137)));
    assert!(summary.state.error.is_some());
    f.engine.start(&id, Attach::NONE).unwrap();
    f.engine.remove(&id, true).unwrap();
    assert_nothing_left(f);
}

fn lost_and_removed(f: &Fixture) {
    let options = CreateOptions { auto_remove: true, ..options(&["sleep"]) };
    let id = f.engine.run(&options, Attach::NONE).unwrap().id().to_owned();
    crash(f, &id);
    assert!(f.engine.list().unwrap().containers.is_empty());
    assert_nothing_left(f);
}

fn damaged(f: &Fixture) {
    let good = f.engine.create(&options(&["exit", "0"])).unwrap();
    let bad = f.engine.create(&options(&["exit", "0"])).unwrap();
    fs::write(directory(f, &bad.id).join("config.json"), "{\"id\":").unwrap();
    let listing = f.engine.list().unwrap();
    assert_eq!(listing.containers.len(), 1);
    assert_eq!(listing.containers[0].container.id, good.id);
    let error = &listing.damaged[0];
    assert!(error.to_string().contains("config.json"), "{error}");
    assert!(error.hint().unwrap().contains(&bad.id[..12]));
    assert!(matches!(f.engine.remove(&bad.id, false), Err(Error::Corrupt { .. })));
    assert!(f.engine.check(true).unwrap().problems.iter().any(|problem| !problem.repaired));
    f.engine.remove(&bad.name, true).unwrap();
    assert!(f.engine.list().unwrap().damaged.is_empty());
}

fn leftovers(f: &Fixture) {
    let keep = f.engine.create(&options(&["exit", "0"])).unwrap();
    let orphan = "a".repeat(64);
    fs::create_dir_all(directory(f, &orphan).join("upper/x")).unwrap();
    fs::write(directory(f, &orphan).join("lock"), "").unwrap();
    fs::write(f.root.path().join("names/ghost"), "b".repeat(64)).unwrap();
    assert_eq!(f.engine.check(false).unwrap().problems.len(), 2);
    assert!(f.engine.check(true).unwrap().problems.iter().all(|problem| problem.repaired));
    assert!(f.engine.check(false).unwrap().problems.is_empty());
    assert_eq!(f.engine.usage().unwrap().total, 1);
    assert!(f.engine.images_in_use().unwrap().contains(&keep.image.manifest));
}

fn wait_for_lost(f: &Fixture) {
    let id = f.detached(&["sleep"]);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| f.another().wait(&id).unwrap());
        crash(f, &id);
        assert_eq!(waiter.join().unwrap(), 137);
    });
}

fn orphans(f: &Fixture) {
    let keep = f.engine.create(&options(&["exit", "0"])).unwrap();
    let orphan = "a".repeat(64);
    fs::create_dir_all(directory(f, &orphan).join("upper/x")).unwrap();
    fs::write(f.root.path().join("names/ghost"), &orphan).unwrap();
    let held = "b".repeat(64);
    fs::create_dir(directory(f, &held)).unwrap();
    let lock = fs::File::create_new(directory(f, &held).join("lock")).unwrap();
    lock.lock().unwrap();
    let another = f.another();
    assert!(!directory(f, &orphan).exists());
    assert!(!f.root.path().join("names/ghost").exists());
    assert!(directory(f, &held).exists(), "somebody is making it");
    assert_eq!(another.inspect(&keep.name).unwrap().container.id, keep.id);
    drop(lock);
    f.another();
    assert!(!directory(f, &held).exists());
}

fn torn(f: &Fixture) {
    for file in ["config.json", "state.json"] {
        let options = CreateOptions { auto_remove: true, ..options(&["sleep"]) };
        let id = f.engine.run(&options, Attach::NONE).unwrap().id().to_owned();
        crash(f, &id);
        fs::write(directory(f, &id).join(file), "").unwrap();
        assert!(f.engine.check(false).unwrap().problems.is_empty());
        assert!(f.engine.list().unwrap().containers.is_empty());
        assert!(f.engine.images_in_use().unwrap().is_empty());
        assert_nothing_left(f);
    }
}

fn created_to_last(f: &Fixture) {
    let options = CreateOptions { auto_remove: true, ..options(&["exit", "0"]) };
    let id = f.engine.create(&options).unwrap().id;
    fs::write(directory(f, &id).join("config.json"), "").unwrap();
    assert_eq!(f.engine.list().unwrap().damaged.len(), 1);
    f.engine.remove(&id, true).unwrap();
}
