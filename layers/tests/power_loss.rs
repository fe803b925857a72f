//! What a guest synced is on the disk: the disk is copied as a power loss would leave it, without what
//! the kernel holds back, and opened again.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use silo_layers::{
    Digest, Lower, Snapshot,
    union::{Access, Follow, FsResult, Node, OpenOptions, ROOT, UnionFs},
};

/// Set in the process that has mounts of its own.
const INSIDE: &str = "SILO_TEST_WITH_OWN_MOUNTS";

#[test]
fn what_a_guest_synced_survives_a_power_loss() {
    if env::var_os(INSIDE).is_some() {
        let dir = tempfile::tempdir().unwrap();
        return changes_survive(dir.path());
    }
    if !rustix::process::geteuid().is_root() || !succeeds(Command::new("mkfs.ext4").arg("-V")) {
        assert_ne!(env::var("CI").as_deref(), Ok("true"), "left out: it takes root and mkfs.ext4");
        return println!("left out: it takes root and mkfs.ext4");
    }
    // Mounts and loop devices go with this process.
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "--propagation", "private"]).arg(env::current_exe().unwrap());
    inside.args(["--exact", "what_a_guest_synced_survives_a_power_loss", "--nocapture"]);
    assert!(inside.env(INSIDE, "1").status().unwrap().success());
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A disk in a file, mounted.
struct Disk {
    file: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    fn new(dir: &Path) -> Self {
        let file = dir.join("disk");
        fs::File::create(&file).unwrap().set_len(32 << 20).unwrap();
        run("mkfs.ext4", &["-q", file.to_str().unwrap()]);
        Self::mount(dir, "disk")
    }

    fn mount(dir: &Path, name: &str) -> Self {
        let disk = Self { file: dir.join(name), mounted: dir.join(format!("{name}-mounted")) };
        fs::create_dir(&disk.mounted).unwrap();
        run("mount", &["-o", "loop", disk.file.to_str().unwrap(), disk.mounted.to_str().unwrap()]);
        disk
    }

    /// The disk as it is when power is lost now.
    fn lose_power(&self, name: &str) -> Self {
        let dir = self.file.parent().unwrap();
        fs::copy(&self.file, dir.join(name)).unwrap();
        Self::mount(dir, name)
    }

    fn union(&self) -> UnionFs {
        let path = |name: &str| {
            let path = self.mounted.join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let lower = Lower { diff_id: Digest::from_bytes([7; 32]), path: path("lower") };
        let snapshot = Snapshot { lowers: vec![lower], upper: path("upper"), work: path("work") };
        UnionFs::open(&snapshot, Access::ReadWrite).unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &[self.mounted.to_str().unwrap()]);
    }
}

fn node(fs: &UnionFs, path: &str) -> FsResult<Node> {
    fs.resolve(ROOT, path, Follow::All)
}

fn read(fs: &UnionFs, path: &str) -> FsResult<String> {
    let file = fs.open_file(node(fs, path)?, OpenOptions::READ)?;
    let mut content = vec![0; usize::try_from(file.len()?).unwrap()];
    let count = file.read_at(&mut content, 0)?;
    content.truncate(count);
    Ok(String::from_utf8(content).unwrap())
}

fn changes_survive(dir: &Path) {
    let disk = Disk::new(dir);
    let etc = disk.mounted.join("lower/a/deep/etc");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("passwd"), "before").unwrap();
    fs::write(etc.join("group"), "before").unwrap();
    let union = disk.union();
    run("sync", &["--file-system", disk.mounted.to_str().unwrap()]);

    // A file of the image is there by its name already: syncing it is all that a guest does.
    let passwd = node(&union, "a/deep/etc/passwd").unwrap();
    let passwd = union.open_file(passwd, OpenOptions::READ_WRITE).unwrap();
    passwd.write_at(b"synced", 0).unwrap();
    passwd.sync().unwrap();
    let after = disk.lose_power("after-file");
    assert_eq!(read(&after.union(), "a/deep/etc/passwd").unwrap(), "synced");

    // A copy that nobody asked for must hide the original only once it has the content.
    union.set_mode(node(&union, "a/deep/etc/group").unwrap(), 0o600).unwrap();
    let directory = union.mkdir(ROOT, "made", 0o755).unwrap();
    let (_, file) = union.create(directory, "file", true, 0o644).unwrap();
    file.write_at(b"content", 0).unwrap();
    file.sync().unwrap();
    union.sync_directory(directory).unwrap();
    union.sync_directory(ROOT).unwrap();
    let after = disk.lose_power("after-directory");
    let found = after.union();
    assert_eq!(read(&found, "made/file").unwrap(), "content");
    assert_eq!(read(&found, "a/deep/etc/group").unwrap(), "before");
}
