//! The same tests as an ordinary user.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use crate::machine::{is_able, is_root, skip};

/// The user that the tests run as once more: no one in particular, and not mapped to anyone.
const USER: &str = "54321";

#[test]
fn all_of_it_holds_for_an_ordinary_user() {
    if !is_able() || !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    // The build directory may be out of that user's reach.
    let program = scratch.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let ran = Command::new("setpriv")
        .args(["--reuid", USER, "--regid", USER, "--clear-groups", "--inh-caps=-all"])
        .arg(&program)
        .env("TMPDIR", scratch.path())
        .env("HOME", scratch.path())
        .current_dir(scratch.path())
        .output();
    match ran {
        Err(error) => assert!(!skip(&format!("setpriv cannot be run: {error}"))),
        Ok(ran) => {
            let text = String::from_utf8_lossy(&ran.stdout);
            assert!(ran.status.success(), "{text}{}", String::from_utf8_lossy(&ran.stderr));
        }
    }
}
