//! The union file system against the kernel's overlayfs, which it must equal.
//!
//! Random images and random operations go through both. Each operation must answer the same, and in the
//! end four trees must be equal: what each shows of the upper that it wrote itself, and what each
//! shows of the upper that the other wrote. The same operations on the two encodings of the union
//! must agree as well, as far as the portable one keeps what was done.
//!
//! Differences that are meant, and nothing else, are in [`kernel`], each with its reason.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod image;
mod kernel;
mod operation;
mod tree;
mod union;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use image::Image;
use kernel::{Host, KernelView};
use operation::{Operation, Outcome};
use proptest::{prelude::*, test_runner::TestCaseResult};
use silo_layers::{Digest, Lower, Snapshot, tree::Encoding};
use tree::{Detail, hard_links};
use union::UnionView;

/// A case's directories.
struct Case {
    dir: PathBuf,
    lowers: usize,
}

impl Case {
    fn new(dir: PathBuf, image: &Image, encoding: Encoding) -> Self {
        std::fs::create_dir(&dir).unwrap();
        let case = Self { dir, lowers: image.layers.len() };
        for (index, layer) in image.layers.iter().enumerate() {
            let path = case.lower(index);
            std::fs::create_dir(&path).unwrap();
            layer.write(&path, encoding);
        }
        case
    }

    fn lower(&self, index: usize) -> PathBuf {
        self.dir.join(format!("l{index}"))
    }

    /// The lowers below the upper of this name, with a work directory of its own.
    fn snapshot(&self, upper: &str, work: &str) -> Snapshot {
        let lower = |index| Lower {
            diff_id: Digest::from_bytes([u8::try_from(index).unwrap(); 32]),
            path: self.lower(index),
        };
        let directory = |name: &str| {
            let path = self.dir.join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        Snapshot {
            lowers: (0..self.lowers).map(lower).collect(),
            upper: directory(upper),
            work: directory(work),
        }
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// So many cases, unless proptest's own variable says otherwise.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if asked { default.cases } else { cases };
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 4000, ..default }
}

fn cases() -> impl Strategy<Value = (Image, Vec<Operation>)> {
    (image::images(), prop::collection::vec(operation::operations(), 1..60))
}

/// Runs the operations through both and compares what they answer.
fn compare(
    operations: &[Operation],
    mut one: impl FnMut(&Operation) -> Outcome,
    mut other: impl FnMut(&Operation) -> Outcome,
) -> TestCaseResult {
    for (index, operation) in operations.iter().enumerate() {
        let (one, other) = (one(operation), other(operation));
        prop_assert_eq!(one, other, "operation {}, {:?}", index, operation);
    }
    Ok(())
}

fn check_against_kernel(host: &Host, image: &Image, operations: &[Operation]) -> TestCaseResult {
    let case = Case::new(host.path("case"), image, Encoding::Overlay);
    let by_union = case.snapshot("u", "uw");
    let by_kernel = case.snapshot("k", "kw");
    let mut union = UnionView::open(&by_union, Encoding::Overlay);
    let mut kernel = KernelView::mount(host, &by_kernel);
    compare(operations, |operation| union.run(operation), |operation| kernel.run(operation))?;
    union.close();
    kernel.close();
    let trees = [union.tree(), kernel.tree()];
    let links = hard_links(&by_union.upper);
    prop_assert_eq!(&union.hard_links(), &links, "hard links told and made by the union");
    prop_assert_eq!(&links, &hard_links(&by_kernel.upper), "hard links");
    drop((union, kernel));
    let swapped = [
        UnionView::open(&case.snapshot("k", "x"), Encoding::Overlay).tree(),
        KernelView::mount(host, &case.snapshot("u", "y")).tree(),
    ];
    let [own_union, own_kernel] = &trees;
    let [union_of_kernels, kernel_of_unions] = &swapped;
    tree::equal(
        "the union's upper, as the kernel and the union show it",
        own_union,
        kernel_of_unions,
        Detail::Attributes,
    )?;
    tree::equal(
        "the kernel's upper, as the union and the kernel show it",
        union_of_kernels,
        own_kernel,
        Detail::Attributes,
    )?;
    tree::equal(
        "the two uppers, as the kernel shows them",
        kernel_of_unions,
        own_kernel,
        Detail::All,
    )
}

fn run_against_kernel(host: &Host, count: u32) {
    let mut runner = proptest::test_runner::TestRunner::new(config(count));
    let result =
        runner.run(&cases(), |(image, operations)| check_against_kernel(host, &image, &operations));
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// Set in the process that runs in a user namespace.
const INSIDE: &str = "SILO_TEST_IN_USER_NAMESPACE";

fn leave_out(reason: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "left out: {reason}");
    println!("left out: {reason}");
}

/// overlayfs for root keeps its notes in `trusted.*` attributes.
#[test]
fn the_union_equals_overlayfs_for_root() {
    match Host::privileged() {
        Ok(host) => run_against_kernel(&host, 3000),
        Err(reason) => leave_out(&reason),
    }
}

/// overlayfs without privilege keeps its notes in `user.*` attributes, and needs a user namespace.
#[test]
fn the_union_equals_overlayfs_in_a_user_namespace() {
    if std::env::var_os(INSIDE).is_some() {
        return run_against_kernel(&Host::new().unwrap(), 1000);
    }
    let probe =
        Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return leave_out("this host gives no user namespace to unshare(1)");
    }
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_union_equals_overlayfs_in_a_user_namespace", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn the_portable_encoding_equals_that_of_overlayfs((image, operations) in cases()) {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        check_encodings(dir.path(), &image, &operations)?;
    }
}

fn check_encodings(dir: &Path, image: &Image, operations: &[Operation]) -> TestCaseResult {
    let case = |name: &str, encoding| Case::new(dir.join(name), image, encoding);
    let (overlay, portable) =
        (case("overlay", Encoding::Overlay), case("portable", Encoding::Portable));
    let snapshots = [overlay.snapshot("u", "w"), portable.snapshot("u", "w")];
    let mut one = UnionView::open(&snapshots[0], Encoding::Overlay);
    let mut other = UnionView::open(&snapshots[1], Encoding::Portable);
    compare(
        operations,
        |operation| one.run(operation).portable(),
        |operation| other.run(operation).portable(),
    )?;
    one.close();
    other.close();
    tree::equal("the trees of the two encodings", &one.tree(), &other.tree(), Detail::Portable)?;
    drop((one, other));
    let one = UnionView::open(&snapshots[0], Encoding::Overlay);
    let other = UnionView::open(&snapshots[1], Encoding::Portable);
    tree::equal("their trees, opened again", &one.tree(), &other.tree(), Detail::Portable)
}
