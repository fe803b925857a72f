//! Many containers of one image, started at once by several processes.

use std::{collections::BTreeSet, thread};

use crate::support::{Silo, guests::silo_with_module, visible_entries, wait_until};

const STARTERS: usize = 8;
const EACH: usize = 25;

/// Runs `EACH` containers by each of `STARTERS` threads, every run a `silo` of its own.
fn run_many(silo: &Silo, args: impl Fn(usize, usize) -> Vec<String> + Sync) -> Vec<String> {
    thread::scope(|scope| {
        let starters: Vec<_> = (0..STARTERS)
            .map(|starter| {
                let args = &args;
                scope.spawn(move || {
                    let run = |n| {
                        let args = args(starter, n);
                        let args: Vec<&str> = args.iter().map(String::as_str).collect();
                        silo.ok(&args)
                    };
                    (0..EACH).map(run).collect::<Vec<_>>()
                })
            })
            .collect();
        starters.into_iter().flat_map(|starter| starter.join().expect("a starter")).collect()
    })
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn two_hundred_linux_containers_disturb_neither_each_other_nor_the_image() {
    let Some(silo) = Silo::with_busybox() else { return };
    let said = run_many(&silo, |starter, n| {
        let mut args = words(&format!("run --rm --name c-{starter}-{n} busybox sh -c"));
        args.push(format!("echo {starter}-{n} > /etc/silo-note; cat /etc/silo-note"));
        args
    });
    let expected: BTreeSet<String> =
        (0..STARTERS).flat_map(|s| (0..EACH).map(move |n| format!("{s}-{n}"))).collect();
    assert_eq!(said.iter().cloned().collect::<BTreeSet<_>>(), expected);
    assert_eq!(silo.ok(&["run", "--rm", "busybox", "cat", "/etc/silo-note"]), "made by umoci");
    assert_eq!(silo.ok(&["ps", "-aq"]), "");
    silo.assert_nothing_left(&[]);
}

#[test]
fn two_hundred_wasm_containers_start_at_once() {
    let silo = silo_with_module("(call $say)");
    let said = run_many(&silo, |_, _| words("run --rm guest"));
    assert_eq!(said.len(), STARTERS * EACH);
    assert!(said.iter().all(|one| one == "said"));
    silo.assert_nothing_left(&[]);
}

#[test]
fn detached_containers_live_side_by_side_and_leave_nothing_after_rm() {
    let Some(silo) = Silo::with_busybox() else { return };
    let ids: Vec<String> = thread::scope(|scope| {
        let start = || {
            scope.spawn(|| {
                (0..10)
                    .map(|_| silo.ok(&["run", "-d", "busybox", "sleep", "1000"]))
                    .collect::<Vec<_>>()
            })
        };
        let starters: Vec<_> = (0..4).map(|_| start()).collect();
        starters.into_iter().flat_map(|starter| starter.join().unwrap()).collect()
    });
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 40);
    let running = silo.ok(&["ps", "-q", "--no-trunc"]);
    assert_eq!(running.lines().collect::<BTreeSet<_>>(), ids.iter().map(String::as_str).collect());
    let mut remove = vec!["rm", "-f"];
    remove.extend(ids.iter().map(String::as_str));
    silo.ok(&remove);
    silo.assert_nothing_left(&ids);
}

#[test]
fn one_of_many_takes_a_name_and_the_others_are_refused() {
    let Some(silo) = Silo::with_busybox() else { return };
    let codes: Vec<i32> = thread::scope(|scope| {
        let start =
            || scope.spawn(|| silo.run(&["create", "--name", "only", "busybox", "true"]).code);
        let all: Vec<_> = (0..12).map(|_| start()).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 1).count(), 11, "{codes:?}");
    assert_eq!(silo.ok(&["ps", "-aq"]).lines().count(), 1);
}

#[test]
fn images_load_and_go_while_containers_run() {
    let Some(silo) = Silo::with_busybox() else { return };
    let Some(archive) = crate::support::data("busybox/oci-gzip.tar") else { return };
    let archive = archive.to_str().unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..10 {
                    silo.ok(&["load", "-q", "-i", archive]);
                    silo.run(&["rmi", "busybox:gzip"]);
                }
            });
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(silo.ok(&["run", "--rm", "busybox", "echo", "here"]), "here");
                }
            });
        }
    });
    silo.ok(&["system", "check"]);
    wait_until("unfinished work to go", || visible_entries(&silo.root().join("tmp")).is_empty());
}
