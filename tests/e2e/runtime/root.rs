//! What a container's file systems are.

use std::fs;

use serde_json::json;

use super::Bundle;

#[test]
fn mounts_are_made_in_order_with_their_options() {
    let script = "grep -E ' (/t|/b|/f) ' /proc/mounts | cut -d' ' -f2-4; cat /f; ls /b; ls -A /t; \
                  touch /b/x 2>&1; touch /t/x";
    let Some(bundle) = Bundle::new(script) else { return };
    fs::create_dir_all(bundle.path().join("volume/inner")).unwrap();
    fs::write(bundle.path().join("file"), "text\n").unwrap();
    fs::create_dir(bundle.root().join("t")).unwrap();
    fs::write(bundle.root().join("t/image"), "").unwrap();
    bundle.change(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({ "destination": "/t", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "noexec", "size=64k", "mode=700", "tmpcopyup"] }));
        mounts.push(json!({ "destination": "/b", "type": "none", "source": "volume",
            "options": ["bind", "ro", "nodev"] }));
        mounts.push(json!({ "destination": "/f", "type": "bind", "source": "file" }));
    });
    let said = bundle.says();
    let said: Vec<_> = said.lines().collect();
    // Some kernels number such files with 64 bits, and say so.
    let first = said[0].trim_end_matches(",inode64");
    assert_eq!(first, "/t tmpfs rw,nosuid,noexec,relatime,size=64k,mode=700");
    assert!(said[1].starts_with("/b ") && said[1].contains(" ro,nodev"), "{said:?}");
    assert!(said[2].starts_with("/f "), "{said:?}");
    assert_eq!(&said[3..6], ["text", "inner", "image"]);
    assert!(said[6].contains("Read-only"), "{said:?}");
    assert!(bundle.root().join("t/image").exists() && !bundle.root().join("t/x").exists());
    bundle.change(|config| config["mounts"][0]["type"] = json!("no-such-file-system"));
    assert!(bundle.refused().contains("no-such-file-system"));
}

#[test]
fn a_mount_may_show_what_one_before_it_has_put_there() {
    let Some(bundle) = Bundle::new("cat /again/x/file /named/file") else { return };
    for (directory, text) in [("volume/x", "hidden\n"), ("other", "shown\n")] {
        let directory = bundle.path().join(directory);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("file"), text).unwrap();
    }
    let root = bundle.root();
    let mounts = [
        ("/first".to_owned(), bundle.path().join("volume")),
        ("/first/x".to_owned(), bundle.path().join("other")),
        ("/again".to_owned(), root.join("first")),
        // By where it is on the host.
        (root.join("named").to_string_lossy().into_owned(), root.join("first/x")),
    ];
    let users = |with: bool| {
        bundle.change(|config| {
            let all = config["mounts"].as_array_mut().unwrap();
            all.retain(|mount| mount["type"] != "bind");
            all.extend(mounts.iter().map(|(destination, source)| {
                json!({ "destination": destination, "type": "bind", "source": source })
            }));
            if with {
                let map = json!([{ "containerID": 0, "hostID": 0, "size": 65_536 }]);
                config["linux"]["uidMappings"] = map.clone();
                config["linux"]["gidMappings"] = map;
                let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
                namespaces.push(json!({ "type": "user" }));
            }
        });
    };
    for with in [false, true] {
        users(with);
        assert_eq!(bundle.says(), "shown\nshown", "{with}");
    }
}

#[test]
fn ids_of_a_mount_are_mapped_by_its_own_maps() {
    let Some(bundle) = Bundle::new("stat -c %u:%g /mapped/file /plain/file") else { return };
    let volume = bundle.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("file"), "").unwrap();
    std::os::unix::fs::chown(volume.join("file"), Some(1), Some(2)).unwrap();
    bundle.change(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        let mut mount = json!({ "destination": "/mapped", "type": "bind", "source": volume,
            "options": ["bind", "idmap"] });
        let map = json!([{ "containerID": 0, "hostID": 5000, "size": 100 }]);
        mount["uidMappings"] = map.clone();
        mount["gidMappings"] = map;
        mounts.push(mount);
        mounts.push(json!({ "destination": "/plain", "type": "bind", "source": volume }));
    });
    assert_eq!(bundle.says(), "5001:5002\n1:2");
    bundle.change(|config| {
        config["mounts"].as_array_mut().unwrap().last_mut().unwrap()["uidMappings"] = json!([]);
    });
    assert!(bundle.refused().contains("/plain"));
}

#[test]
fn a_dev_that_is_read_only_has_all_that_belongs_there() {
    let Some(bundle) = Bundle::new("ls /dev/null /dev/pts/ptmx; touch /dev/x 2>&1") else { return };
    bundle.change(|config| {
        for mount in config["mounts"].as_array_mut().unwrap() {
            if mount["destination"] == "/dev" {
                mount["options"].as_array_mut().unwrap().push(json!("ro"));
            }
        }
    });
    let ended = bundle.run(&["run", "c"]);
    assert!(ended.stdout.starts_with("/dev/null\n/dev/pts/ptmx\n"), "{ended:?}");
    assert!(ended.stdout.contains("Read-only"), "{ended:?}");
}

#[test]
fn paths_are_masked_and_read_only() {
    let script = "cat /secret /proc/keys; ls /hidden; echo x 2>&1 >/fixed/file; touch /x 2>&1";
    let Some(bundle) = Bundle::new(script) else { return };
    let root = bundle.root();
    for directory in ["hidden", "fixed"] {
        fs::create_dir(root.join(directory)).unwrap();
        fs::write(root.join(directory).join("file"), "told").unwrap();
    }
    fs::write(root.join("secret"), "told").unwrap();
    bundle.change(|config| {
        config["root"]["readonly"] = json!(true);
        config["linux"]["maskedPaths"] = json!(["/secret", "/hidden", "/proc/keys", "/nowhere"]);
        config["linux"]["readonlyPaths"] = json!(["/fixed", "/nowhere"]);
    });
    let said = bundle.run(&["run", "c"]);
    assert!(!said.stdout.contains("told"), "{said:?}");
    assert!(!said.stdout.contains("file\n"), "{said:?}");
    assert_eq!(
        format!("{}{}", said.stdout, said.stderr).matches("Read-only").count(),
        2,
        "{said:?}"
    );
}

#[test]
fn devices_and_links_are_made() {
    let script = "for d in null zero full random urandom tty; do stat -c '%n %t:%T %a' /dev/$d; done; \
                  for l in fd stdin ptmx; do readlink /dev/$l; done; stat -c '%t:%T %a %u:%g' /dev/own; echo x >/dev/null";
    let Some(bundle) = Bundle::new(script) else { return };
    bundle.change(|config| {
        config["linux"]["devices"] = json!([{ "path": "/dev/own", "type": "c", "major": 1,
            "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4 }]);
    });
    let said = bundle.says();
    let said: Vec<_> = said.lines().collect();
    assert_eq!(said[0], "/dev/null 1:3 666");
    assert_eq!(said[5], "/dev/tty 5:0 666");
    assert_eq!(&said[6..], ["/proc/self/fd", "/proc/self/fd/0", "pts/ptmx", "1:5 640 3:4"]);
}

#[test]
fn what_the_container_mounts_is_not_seen_on_the_host() {
    let Some(bundle) = Bundle::new("grep -c . /proc/self/mountinfo") else { return };
    for propagation in ["rprivate", "rslave", "shared", "rshared", "unbindable"] {
        bundle.change(|config| config["linux"]["rootfsPropagation"] = json!(propagation));
        bundle.says();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&*bundle.path().to_string_lossy()), "{propagation}: {mounts}");
    }
    bundle.change(|config| config["linux"]["rootfsPropagation"] = json!("everywhere"));
    assert!(bundle.refused().contains("everywhere"));
}

#[test]
fn a_root_is_changed_without_pivoting_too() {
    let Some(bundle) = Bundle::new("ls / | head -1; ls -d /proc/1") else { return };
    assert_eq!(bundle.ok(&["run", "--no-pivot", "c"]), "bin\n/proc/1");
}

#[test]
fn no_user_namespace_mounts_a_proc_in_which_nothing_is_masked() {
    let script = "mkdir /x; unshare -mrpf true && echo may; \
                  unshare -mrpf mount -t proc none /x 2>/dev/null && echo bare; echo done";
    let Some(bundle) = Bundle::new(script) else { return };
    bundle.change(|config| {
        let all = json!(["CAP_SETFCAP", "CAP_SETUID", "CAP_SETGID"]);
        for set in ["bounding", "permitted", "effective"] {
            config["process"]["capabilities"][set] = all.clone();
        }
    });
    for options in [&["run"][..], &["run", "--no-pivot"]] {
        fs::remove_dir(bundle.root().join("x")).ok();
        assert_eq!(bundle.ok(&[options, &["c"]].concat()), "may\ndone", "{options:?}");
    }
}

#[test]
fn a_tmpfs_of_other_users_begins_with_what_they_have() {
    let Some(bundle) = Bundle::new("stat -c '%u:%g %a' /t /t/image; touch /t/x && echo made")
    else {
        return;
    };
    fs::create_dir(bundle.root().join("t")).unwrap();
    fs::write(bundle.root().join("t/image"), "").unwrap();
    let root = bundle.root();
    let given =
        std::process::Command::new("chown").args(["-R", "100000:100000"]).arg(root).status();
    assert!(given.unwrap().success());
    bundle.change(|config| {
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({ "type": "user" }));
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/t", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "size=64k", "tmpcopyup"] }));
    });
    assert_eq!(bundle.says(), "0:0 755\n0:0 644\nmade");
}
