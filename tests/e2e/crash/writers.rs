//! Several processes at once on one store: nothing is lost, and none fails but with what the
//! documents say.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::operations::{Prepared, assert_no_leftovers};
use crate::support::{Ended, Silo, wait_until};

const ROUNDS: usize = 15;

/// Runs a command that succeeds or fails with one of these words in its message.
#[track_caller]
fn ok_or(silo: &Silo, args: &[&str], words: &[&str]) -> Ended {
    let ended = silo.run(args);
    let excused = words.iter().any(|word| ended.stderr.contains(word));
    assert!(ended.code == 0 || excused, "silo {args:?}: {ended:#?}");
    ended
}

/// Runs each of these, over and over, in a thread of its own; `meanwhile` until all have ended.
fn at_once(silo: &Silo, writers: &[&(dyn Fn(usize) + Sync)], meanwhile: &(dyn Fn() + Sync)) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                meanwhile();
            }
        });
        let all: Vec<_> =
            writers.iter().map(|write| scope.spawn(move || (0..ROUNDS).for_each(write))).collect();
        let ended: Vec<_> = all.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        assert!(reader.join().is_ok(), "the reader");
        assert!(ended.iter().all(Result::is_ok), "a writer");
    });
    wait_until("supervisors to end", || silo.processes().is_empty());
    silo.ok(&["system", "check"]);
    assert_no_leftovers(&silo.root(), "when all have ended");
    silo.ok(&["system", "check", "--repair"]);
    assert_eq!(silo.ok(&["system", "check"]).lines().count(), 1);
}

#[test]
fn one_image_is_loaded_by_many_while_others_look_and_remove() {
    let prepared = Prepared::new();
    let silo = &prepared.silo;
    let load = |_| drop(silo.ok(&["load", "-q", "-i", "more"]));
    let load_archive = |_| drop(silo.ok(&["load", "-q", "-i", "more.tar.gz"]));
    let remove = |_| drop(ok_or(silo, &["rmi", "more"], &["no such image"]));
    let repair = |_| drop(silo.ok(&["system", "check", "--repair"]));
    let look = || {
        silo.ok(&["system", "check"]);
        silo.ok(&["images"]);
    };
    at_once(silo, &[&load, &load_archive, &load, &remove, &repair], &look);
    silo.ok(&["load", "-q", "-i", "more"]);
    silo.ok(&["run", "--pull", "never", "--rm", "guest"]);
}

#[test]
fn an_image_is_removed_while_containers_of_it_are_made() {
    let prepared = Prepared::new();
    let silo = &prepared.silo;
    silo.ok(&["rm", "old"]);
    silo.ok(&["rmi", "alias"]);
    let root = silo.file("guest.tar", guest_archive());
    let import = |_| {
        let change = r#"ENTRYPOINT ["/guest.wasm"]"#;
        let root = root.to_str().unwrap();
        silo.ok(&["import", "--platform", "wasi/wasm", "--change", change, root, "guest"]);
    };
    let run = |_| {
        let ended = ok_or(silo, &["run", "--pull", "never", "--rm", "guest"], &["no such image"]);
        assert!(ended.code != 0 || ended.stdout == "said\n", "{ended:#?}");
    };
    let keep = |n: usize| {
        let name = format!("kept-{n}");
        if ok_or(silo, &["create", "--pull", "never", "--name", &name, "guest"], &["no such image"])
            .code
            == 0
        {
            assert_eq!(silo.ok(&["start", "-a", &name]), "said");
            silo.ok(&["rm", &name]);
        }
    };
    let remove = |_| drop(ok_or(silo, &["rmi", "guest"], &["no such image", "uses it"]));
    let look = || drop(silo.ok(&["ps", "-a"]));
    at_once(silo, &[&import, &run, &keep, &remove, &remove], &look);
}

/// The archive of a root file system with a program.
fn guest_archive() -> Vec<u8> {
    let program = crate::support::guests::module("(call $say)");
    let file = crate::support::layout::File::program("guest.wasm", &program);
    crate::support::layout::tar(&[file])
}

#[test]
fn names_change_hands_and_every_name_is_one_images() {
    let prepared = Prepared::new();
    let silo = &prepared.silo;
    let to_guest = |_| drop(silo.ok(&["tag", "guest", "mine"]));
    let to_spare = |_| drop(silo.ok(&["tag", "spare", "mine"]));
    let remove = |_| drop(ok_or(silo, &["rmi", "mine"], &["no such image"]));
    let look = || {
        let listed = silo.ok(&["images", "--format", "{{.Repository}}"]);
        let mine = listed.lines().filter(|name| *name == "mine").count();
        assert!(mine <= 1, "{listed}");
        assert!(listed.lines().any(|name| name == "guest"), "{listed}");
    };
    at_once(silo, &[&to_guest, &to_spare, &to_guest, &to_spare, &remove], &look);
    assert!(silo.ok(&["images", "--format", "{{.Repository}}"]).lines().all(|n| n != "<none>"));
}

#[test]
fn containers_come_and_go_while_others_check() {
    let prepared = Prepared::new();
    let silo = &prepared.silo;
    let own = |n: usize| {
        let id = silo.ok(&["create", "guest"]);
        silo.ok(&["inspect", &id]);
        silo.ok(&["rm", &id]);
        assert_eq!(silo.ok(&["run", "--rm", "--name", &format!("own-{n}"), "guest"]), "said");
    };
    let shared = |_| {
        ok_or(silo, &["create", "--name", "shared", "guest"], &["is in use by"]);
        ok_or(silo, &["rm", "shared"], &["no such container", "being started or removed"]);
    };
    let check = || {
        silo.ok(&["system", "check"]);
        silo.ok(&["system", "check", "--repair"]);
        silo.ok(&["ps", "-a"]);
    };
    at_once(silo, &[&own, &shared, &shared], &check);
}
