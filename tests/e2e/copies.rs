//! `silo cp` and containers that run: their guests see what comes, and get nothing out of their root.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

use crate::support::{
    Silo, data, guests::silo_with_python, host, host::text, transcript::Transcript, wait_until,
};

/// Stores with the image `busybox`: of who runs the tests, and of an ordinary user.
fn silos() -> Vec<Silo> {
    let Some(archive) = data("busybox/docker-archive.tar") else { return Vec::new() };
    let silos = [Silo::new(), Silo::unprivileged()];
    for silo in &silos {
        let reachable = silo.file("busybox.tar", fs::read(&archive).unwrap());
        silo.ok(&["load", "-q", "-i", text(&reachable)]);
        silo.ok(&["tag", "busybox:archive", "busybox"]);
    }
    silos.into()
}

/// A directory of the store's user.
fn folder(silo: &Silo, name: &str) -> PathBuf {
    let folder = silo.home().join(name);
    fs::create_dir(&folder).unwrap();
    let home = silo.home().metadata().unwrap();
    chown(&folder, Some(home.uid()), Some(home.gid())).unwrap();
    folder
}

#[test]
fn a_guest_that_runs_sees_at_once_what_is_copied_in() {
    for silo in silos() {
        let volume = folder(&silo, "volume");
        let (kept, written) =
            (format!("{}:/kept:ro", text(&volume)), format!("{}:/data", text(&volume)));
        let run = ["run", "-d", "--name", "c", "-v", &written, "-v", &kept, "--tmpfs", "/mem"];
        silo.ok(&[&run[..], &["busybox", "sleep", "1000"]].concat());
        let file = silo.file("file", "from outside\n");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o754)).unwrap();
        for path in ["/file", "/mem/file", "/data/file", "/tmp/../etc/file"] {
            silo.ok(&["cp", text(&file), &format!("c:{path}")]);
            assert_eq!(silo.ok(&["exec", "c", "cat", path]), "from outside", "{path}");
            let stat = silo.ok(&["exec", "c", "stat", "-c", "%u:%g %a", path]);
            assert_eq!(stat, "0:0 754", "{path}");
        }
        assert_eq!(fs::read_to_string(volume.join("file")).unwrap(), "from outside\n");

        // The other way it is what the guest has, in memory and in volumes.
        let script =
            "echo inside | tee /mem/own > /data/own; ln -s /mem/own /link; mkfifo /mem/fifo";
        silo.ok(&["exec", "c", "sh", "-c", script]);
        for (path, options) in [("/mem/own", "cp"), ("/data/own", "cp"), ("/link", "cp -L")] {
            let out = folder(&silo, &path.replace('/', "-")).join("out");
            let command: Vec<&str> = options.split(' ').collect();
            silo.ok(&[&command[..], &[&format!("c:{path}"), text(&out)]].concat());
            assert_eq!(fs::read_to_string(&out).unwrap(), "inside\n", "{path}");
        }
        let archive = silo.with_input(
            &["cp", "-", "c:/mem"],
            &silo.command(&["cp", "c:/data/.", "-"]).output().unwrap().stdout,
        );
        assert_eq!(archive.code, 0, "{archive:?}");
        assert_eq!(silo.ok(&["exec", "c", "cat", "/mem/own"]), "inside");
        let all = folder(&silo, "all");
        silo.ok(&["cp", "c:/.", text(&all)]);
        assert!(all.join("mem/own").exists() && all.join("data/own").exists());
        assert!(!all.join("proc").exists());

        Transcript::of(&silo)
            .run(&["cp", text(&file), "c:/kept/file"])
            .run(&["cp", text(&file), "c:/no/such/directory"])
            .run(&["cp", text(&file), "c:/dev/null"])
            .run(&["cp", text(&folder(&silo, "empty")), "c:/file"])
            .run(&["cp", "c:/mem/fifo", text(&all)])
            .run(&["cp", "c:/nothing", "."])
            .with_input(&["cp", "-", "c:/"], b"no archive")
            .with_input(&["cp", "-", "c:/file"], &[0; 1024])
            .run(&["stop", "-t", "0", "c"])
            .run(&["cp", "c:/mem/own", "."])
            .run(&["cp", text(&file), "c:/kept/file"])
            .run(&["cp", text(&file), "c:/data/again"])
            .run(&["cp", "c:/data/again", "-L", text(&all)])
            .run(&["rm", "c"])
            .assert("copies_of_a_running_container");
        assert_eq!(fs::read_to_string(volume.join("again")).unwrap(), "from outside\n");
        silo.assert_nothing_left(&[]);
    }
}

#[test]
fn a_wasm_guest_that_runs_sees_at_once_what_is_copied_in() {
    let Some(silo) = silo_with_python(&[]) else { return };
    let volume = folder(&silo, "volume");
    let mount = format!("{}:/data", text(&volume));
    // It reads each file when it is there, and writes it again.
    let script = "import os, sys, time
os.makedirs('/made')
for name in ('/made/one', '/data/two', '/mem/three', '/made/tree/four'):
    while not os.path.exists(name): time.sleep(0.01)
    while not (text := open(name).read()).endswith('end\\n'): time.sleep(0.01)
    open(name + '.seen', 'w').write(text)
while not os.path.exists('/made/stop'): time.sleep(0.01)
print(sorted(os.listdir('/made')))
";
    let run = ["run", "-d", "--name", "c", "-v", &mount, "--tmpfs", "/mem", "python", "-c", script];
    silo.ok(&run);
    let tree = folder(&silo, "tree");
    fs::write(tree.join("four"), "four, the end\n").unwrap();
    symlink("four", tree.join("link")).unwrap();
    for (name, target) in [("one", "/made"), ("two", "/data"), ("three", "/mem")] {
        let file = silo.file(name, format!("{name}, the end\n"));
        wait_until("the guest's directory", || {
            silo.run(&["cp", text(&file), &format!("c:{target}/{name}")]).code == 0
        });
    }
    silo.ok(&["cp", text(&tree), "c:/made"]);
    for path in ["/made/one", "/data/two", "/mem/three", "/made/tree/four"] {
        let out = silo.home().join("out");
        let seen = format!("c:{path}.seen");
        wait_until("the guest to see it", || silo.run(&["cp", &seen, text(&out)]).code == 0);
        let name = path.rsplit('/').next().unwrap();
        wait_until("the guest to write it", || {
            silo.ok(&["cp", &seen, text(&out)]);
            fs::read_to_string(&out).unwrap() == format!("{name}, the end\n")
        });
    }
    let refused = silo.fails(1, &["cp", "-a", text(&tree), "c:/made/owned"]);
    assert!(refused.contains("owners"), "{refused}");
    silo.ok(&["cp", text(&tree.join("four")), "c:/made/stop"]);
    silo.ok(&["wait", "c"]);
    assert_eq!(silo.ok(&["logs", "c"]), "['one', 'one.seen', 'stop', 'tree']");
    // What was copied is in the container's own layer.
    let out = folder(&silo, "after");
    silo.ok(&["cp", "c:/made/tree", text(&out)]);
    assert_eq!(fs::read_to_string(out.join("tree/link")).unwrap(), "four, the end\n");
    assert_eq!(fs::read_to_string(volume.join("two")).unwrap(), "two, the end\n");
    silo.ok(&["rm", "c"]);
    silo.ok(&["system", "check"]);
    silo.assert_nothing_left(&[]);
}

/// Swaps, as fast as it can, a directory for a link to the host's directory of that path.
fn swapping(outside: &Path) -> String {
    format!(
        "mkdir -p /w/dir /w/dir/sub; echo inside > /w/dir/secret; echo inside > /w/dir/sub/secret
         ln -s {0} /w/link; ln -s {0}/secret /w/file
         while :; do
           mv /w/dir /w/at; mv /w/at /w/dir; mv /w/link /w/at; mv /w/at /w/link
           mv /w/dir/sub /w/sub; mv /w/link /w/dir/sub; mv /w/dir/sub /w/link; mv /w/sub /w/dir/sub
         done",
        text(outside)
    )
}

#[test]
fn a_guest_that_swaps_directories_for_links_gets_no_copy_past_its_root() {
    for silo in silos() {
        let outside = folder(&silo, "outside");
        fs::write(outside.join("secret"), "outside\n").unwrap();
        fs::set_permissions(outside.join("secret"), fs::Permissions::from_mode(0o640)).unwrap();
        let before = outside.join("secret").metadata().unwrap();
        silo.ok(&["run", "-d", "--name", "c", "busybox", "sh", "-c", &swapping(&outside)]);
        let tree = folder(&silo, "tree");
        fs::create_dir(tree.join("sub")).unwrap();
        for name in ["secret", "planted", "sub/secret", "sub/planted"] {
            fs::write(tree.join(name), "planted\n").unwrap();
        }
        let content = format!("{}/.", text(&tree));
        let (mut done, out) = (0, folder(&silo, "out"));
        for round in 0..60 {
            for target in ["c:/w/at", "c:/w/dir"] {
                // Whether it finds a directory there is the guest's doing.
                done += u32::from(silo.run(&["cp", &content, target]).code == 0);
            }
            let copy = out.join(round.to_string());
            silo.run(&["cp", "-L", "c:/w/at/", text(&copy)]);
            silo.run(&["cp", "c:/w/dir/.", text(&copy)]);
            for name in ["secret", "sub/secret"] {
                // A link is copied as a link, which leads there here.
                let Ok(file) = copy.join(name).canonicalize() else { continue };
                if file.starts_with(&copy) {
                    assert_ne!(fs::read_to_string(file).unwrap(), "outside\n", "{name} got out");
                }
            }
        }
        assert!(done > 0, "nothing was copied at all");
        let after = outside.join("secret").metadata().unwrap();
        assert_eq!(
            (before.mode(), before.uid(), before.ctime_nsec()),
            (after.mode(), after.uid(), after.ctime_nsec())
        );
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "outside\n");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        silo.ok(&["rm", "-f", "c"]);
        silo.assert_nothing_left(&[]);
    }
}

#[test]
fn owners_are_kept_where_that_is_asked_for_and_can_be() {
    for silo in silos() {
        let tree = folder(&silo, "tree");
        fs::write(tree.join("file"), "x").unwrap();
        silo.ok(&["run", "-d", "--name", "busy", "busybox", "sleep", "1000"]);
        silo.ok(&["create", "--name", "idle", "busybox", "stat", "-c", "%u:%g", "/tree/file"]);
        if !host::is_root() || silo.home().metadata().unwrap().uid() != 0 {
            let refused = silo.fails(1, &["cp", "-a", text(&tree), "busy:/"]);
            assert!(refused.contains("only root can give files away"), "{refused}");
            silo.fails(1, &["cp", "--archive", "idle:/bin", text(&tree)]);
            continue;
        }
        for path in [&tree.join("file"), &tree] {
            chown(path, Some(12), Some(34)).unwrap();
        }
        let owner = |path: &Path| path.metadata().map(|file| (file.uid(), file.gid())).unwrap();
        for name in ["busy", "idle"] {
            silo.ok(&["cp", "-a", text(&tree), &format!("{name}:/")]);
            let kept = silo.home().join(format!("kept-{name}"));
            silo.ok(&["cp", "-a", &format!("{name}:/tree"), text(&kept)]);
            assert_eq!((owner(&kept), owner(&kept.join("file"))), ((12, 34), (12, 34)));
            let own = silo.home().join(format!("own-{name}"));
            silo.ok(&["cp", &format!("{name}:/tree"), text(&own)]);
            assert_eq!((owner(&own), owner(&own.join("file"))), ((0, 0), (0, 0)));
        }
        assert_eq!(silo.ok(&["exec", "busy", "stat", "-c", "%u:%g", "/tree/file"]), "12:34");
        assert_eq!(silo.ok(&["start", "-a", "idle"]), "12:34");
        silo.ok(&["cp", text(&tree), "busy:/plain"]);
        assert_eq!(silo.ok(&["exec", "busy", "stat", "-c", "%u:%g", "/plain/file"]), "0:0");
    }
}

#[test]
fn a_client_that_reads_no_more_keeps_no_container_from_ending() {
    let Some(silo) = Silo::with_busybox() else { return };
    let fill = "head -c 30000000 /dev/zero > /zeros; echo ready; sleep 1000";
    silo.ok(&["run", "-d", "--name", "c", "busybox", "sh", "-c", fill]);
    wait_until("the file", || silo.ok(&["logs", "c"]) == "ready");
    let mut stuck = silo.spawn(&["cp", "c:/zeros", "-"]);
    wait_until("the copy", || silo.processes().len() > 1);
    std::thread::sleep(std::time::Duration::from_millis(200));
    silo.ok(&["rm", "-f", "c"]);
    stuck.kill().unwrap();
    stuck.wait().unwrap();
    silo.assert_nothing_left(&[]);
}
