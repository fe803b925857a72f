//! What the machine that the tests run on lets them do.

/// Tells that a test, or a part of it, is left out; fails it under CI.
#[track_caller]
pub(crate) fn leave_out(why: &str) {
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!ci, "CI=true allows nothing to be left out: {why}");
    eprintln!("left out: {why}");
}

/// Whether this user may make device nodes here.
pub(crate) fn may_make_devices() -> bool {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let dir = tempfile::tempdir().expect("a directory");
    let null = dir.path().join("null");
    mknodat(CWD, &null, FileType::CharacterDevice, Mode::RUSR, makedev(1, 3)).is_ok()
}
