//! Compiled code on disk.

use std::{fs, path::PathBuf};

use super::{guest, harness::Container};
use crate::WasiBackend;

/// A container with a cache of its own, and that cache's directory.
fn fresh() -> (Container, PathBuf) {
    let mut container = guest(["print", "hello"]);
    let dir = container.host("cache");
    container.backend = WasiBackend::new(dir.clone());
    (container, dir)
}

/// The only file of compiled code in a cache.
fn code(dir: &PathBuf) -> PathBuf {
    let version = fs::read_dir(dir).unwrap().next().unwrap().unwrap().path();
    let files = fs::read_dir(version).unwrap().map(|entry| entry.unwrap().path());
    let mut code = files.filter(|path| path.extension().is_some_and(|name| name == "cwasm"));
    let found = code.next().unwrap();
    assert_eq!(code.next(), None);
    found
}

fn run(container: &Container) {
    assert_eq!(container.run().ok(), "hello\n");
}

#[test]
fn code_is_compiled_once() {
    let (mut container, dir) = fresh();
    run(&container);
    let file = code(&dir);
    let made = fs::metadata(&file).unwrap().modified().unwrap();
    container.backend = WasiBackend::new(dir);
    run(&container);
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), made);
}

#[cfg(unix)]
#[test]
fn code_that_was_found_whole_is_read_through_again_when_it_changes() {
    let (mut container, dir) = fresh();
    run(&container);
    let file = code(&dir);
    let seen = file.with_extension("seen");
    assert!(!seen.exists(), "nobody has looked at it yet");
    for _ in 0..2 {
        container.backend = WasiBackend::new(dir.clone());
        run(&container);
        assert!(seen.exists());
    }
    // In its place: the file has the same inode number and size.
    let whole = fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    fs::write(&file, &damaged).unwrap();
    container.backend = WasiBackend::new(dir);
    run(&container);
    assert_ne!(fs::read(&file).unwrap(), damaged);
}

#[test]
fn damaged_code_is_compiled_again_and_never_loaded() {
    let (mut container, dir) = fresh();
    run(&container);
    let file = code(&dir);
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [flipped, whole[..whole.len() - 1].to_vec(), b"short".to_vec(), Vec::new()] {
        fs::remove_file(&file).unwrap();
        fs::write(&file, &damaged).unwrap();
        #[cfg(unix)]
        set_mode(&file, 0o600);
        container.backend = WasiBackend::new(dir.clone());
        run(&container);
        assert_ne!(fs::read(&file).unwrap(), damaged);
    }
}

#[cfg(unix)]
fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
#[test]
fn code_that_others_may_change_is_not_used() {
    let (mut container, dir) = fresh();
    run(&container);
    let file = code(&dir);
    let good = fs::read(&file).unwrap();
    set_mode(&file, 0o666);
    container.backend = WasiBackend::new(dir.clone());
    run(&container);
    assert!(!fs::metadata(&file).unwrap().permissions().readonly());
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&file).unwrap()) & 0o777, 0o600);

    let version = file.parent().unwrap();
    fs::write(&file, &good).unwrap();
    set_mode(version, 0o777);
    container.backend = WasiBackend::new(dir.clone());
    run(&container);
    set_mode(version, 0o700);

    let elsewhere = container.host("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    container.backend = WasiBackend::new(dir);
    run(&container);
    assert!(!fs::symlink_metadata(&file).unwrap().is_symlink());
}
