//! Files through the union, volumes and tmpfs.

use std::fs;

use silo_isolation::MountKind;

use super::guest;

const NOENT: &str = "errno 44\n";
const ROFS: &str = "errno 69\n";

#[test]
fn files_are_made_read_changed_and_removed() {
    let container = guest([
        "cat", "image", "write", "new", "one", "append", "new", ",two", "cat", "new", "print", "",
        "patch", "new", "1", "NE", "cat", "new", "print", "", "cut", "new", "2", "stat", "new",
        "new", "new", "append", "image", "+more", "cat", "image", "print", "", "rm", "new", "stat",
        "new", "cut", "image", "8000", "stat", "image",
    ]);
    container.image_file("image", "text of the image");
    let told = container.run().ok();
    assert_eq!(
        told,
        format!(
            "text of the imageone,two\noNE,two\n4 2\nerrno 20\ntext of the image+more\n{NOENT}4 8000\n"
        )
    );
    let lower = &container.bundle.root.snapshot.lowers[0].path;
    assert_eq!(fs::read(lower.join("image")).unwrap(), b"text of the image");
    assert_eq!(fs::metadata(container.upper("image")).unwrap().len(), 8000);
}

#[test]
fn names_are_moved_linked_and_listed() {
    let container = guest([
        "mkdir", "d", "write", "d/a", "1", "mv", "d/a", "d/b", "ln", "d/b", "d/c", "append", "d/c",
        "2", "cat", "d/b", "print", "", "symlink", "b", "d/l", "readlink", "d/l", "cat", "d/l",
        "print", "", "lstat", "d/l", "ls", "d", "rmdir", "d", "rm", "d", "mv", "d", "e", "ls", "e",
        "rm", "e/b", "rm", "e/c", "rm", "e/l", "rmdir", "e", "stat", "e", "mkdir", "x/y", "rm",
        "image", "ls", ".",
    ]);
    container.image_file("image", "");
    let told = container.run().ok();
    assert_eq!(
        told,
        format!("12\nb\n12\n7 1\nb\nc\nl\nerrno 55\nerrno 31\nb\nc\nl\n{NOENT}{NOENT}guest.wasm\n")
    );
}

#[test]
fn links_stay_inside_the_root() {
    let container = guest([
        "symlink",
        "/etc/name",
        "abs",
        "cat",
        "abs",
        "symlink",
        "../../../etc/name",
        "up",
        "cat",
        "up",
        "cat",
        "../../etc/name",
        "symlink",
        "loop",
        "loop",
        "cat",
        "loop",
        "symlink",
        "/made",
        "dangling",
        "write",
        "dangling",
        "x",
        "cat",
        "made",
        "print",
        "",
    ]);
    container.image_file("etc/name", "guest\n");
    assert_eq!(container.run().ok(), "guest\nguest\nguest\nerrno 32\nx\n");
}

#[test]
fn a_read_only_root_refuses_changes() {
    let mut container = guest([
        "write", "new", "x", "append", "image", "x", "rm", "image", "mkdir", "d", "mv", "image",
        "other", "symlink", "a", "b", "cat", "image", "write", "tmp/t", "ok", "cat", "tmp/t",
    ])
    .mount("/tmp", MountKind::Tmpfs { size: None, mode: None }, false);
    container.bundle.root.readonly = true;
    container.image_file("image", "as it was\n");
    let told = container.run().ok();
    assert_eq!(told, format!("{}as it was\nok", ROFS.repeat(6)));
}

#[test]
fn a_volume_is_shared_with_the_host_and_nothing_beside_it() {
    let container = guest([
        "cat",
        "data/in",
        "write",
        "data/sub/out",
        "x",
        "ls",
        "data",
        "cat",
        "data/secret",
        "cat",
        "data/abs",
        "cat",
        "data/dir/secret",
        "mv",
        "image",
        "data/image",
        "rmdir",
        "data",
        "mv",
        "data",
        "moved",
        "mv",
        "data/in",
        "data/in2",
        "cat",
        "data/in2",
        "ls",
        ".",
    ]);
    container.image_file("image", "");
    let host = container.host("volume");
    fs::create_dir_all(host.join("sub")).unwrap();
    fs::write(host.join("in"), "from the host\n").unwrap();
    fs::write(container.host("secret"), "secret").unwrap();
    let container = container.volume(&host, "/data", false);
    #[cfg(unix)]
    for (target, name) in [("../secret", "secret"), ("..", "dir")] {
        std::os::unix::fs::symlink(target, host.join(name)).unwrap();
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(container.host("secret"), host.join("abs")).unwrap();
    let told = container.run().ok();
    let (listed, rest) = told.split_once("errno").unwrap();
    assert!(listed.starts_with("from the host\n") && listed.contains("sub\n"), "{told}");
    assert!(!told.contains("secret\nsecret") && !rest.contains("secret"), "{told}");
    // Missing three times, another file system, busy twice.
    let errors = "errno 44\nerrno 44\nerrno 44\nerrno 75\nerrno 10\nerrno 10\n";
    assert_eq!(rest, format!("{}from the host\ndata\nguest.wasm\nimage\n", &errors[5..]));
    assert_eq!(fs::read(host.join("sub/out")).unwrap(), b"x");
    assert!(host.join("in2").exists());
}

#[test]
fn a_read_only_volume_and_a_single_file_can_be_mounted() {
    let container = guest([
        "cat", "ro/f", "write", "ro/f", "x", "rm", "ro/f", "mkdir", "ro/d", "cat", "etc/conf",
        "append", "etc/conf", "+", "cat", "etc/conf", "rm", "etc/conf",
    ]);
    let host = container.host("volume");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("f"), "file\n").unwrap();
    fs::write(container.host("conf"), "conf\n").unwrap();
    let conf = container.host("conf");
    let container = container.volume(&host, "/ro", true).volume(&conf, "/etc/conf", false);
    let told = container.run().ok();
    assert_eq!(told, format!("file\n{}conf\nconf\n+errno 10\n", ROFS.repeat(3)));
    assert_eq!(fs::read(conf).unwrap(), b"conf\n+");
}

#[test]
fn a_tmpfs_holds_files_up_to_its_size_and_is_gone_after() {
    let container = guest([
        "mkdir",
        "run/d",
        "write",
        "run/d/f",
        "text",
        "patch",
        "run/d/f",
        "100000",
        "end",
        "stat",
        "run/d/f",
        "cut",
        "run/d/f",
        "2",
        "cat",
        "run/d/f",
        "print",
        "",
        "mv",
        "run/d",
        "run/e",
        "mv",
        "run/e",
        "run/e/inside",
        "ln",
        "run/e/f",
        "run/g",
        "rm",
        "run/e/f",
        "cat",
        "run/g",
        "print",
        "",
        "symlink",
        "g",
        "run/l",
        "cat",
        "run/l",
        "print",
        "",
        "ls",
        "run",
        "patch",
        "run/g",
        "1000000000000",
        "far",
        "stat",
        "run/g",
        "rmdir",
        "run/e",
        "stat",
        "run/e",
        "stdin",
    ])
    .mount("/run", MountKind::Tmpfs { size: Some(65536), mode: None }, false);
    assert_eq!(
        container.run().ok(),
        format!("4 100003\nte\nerrno 28\nte\nte\ne\ng\nl\n4 1000000000003\n{NOENT}")
    );
    assert!(container.upper("run").is_dir());
    assert_eq!(fs::read_dir(container.upper("run")).unwrap().count(), 0);

    let text = "x".repeat(3000);
    let mut commands = vec!["mkdir", "run/d"];
    let names: Vec<String> = (0..20).map(|n| format!("run/{n}")).collect();
    for name in &names {
        commands.extend(["write", name, &text]);
    }
    let container = super::Container::new(super::GUEST).args(commands).mount(
        "/run",
        MountKind::Tmpfs { size: Some(40000), mode: None },
        false,
    );
    let told = container.run().ok();
    assert!(told.starts_with("errno 51\n"), "{told}");
}

#[test]
fn the_working_directory_is_made() {
    let mut container = guest(["ls", "work"]);
    container.bundle.process.cwd = "/work/here".to_owned();
    container.bundle.process.args[0] = "/guest.wasm".to_owned();
    let told = container.run().ok();
    assert!(told == "here\n" || told == NOENT, "{told}");
    assert!(container.upper("work/here").is_dir());
}
