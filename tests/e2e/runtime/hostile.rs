//! Images and configurations that mean harm.

use std::{fs, os::unix::fs::symlink};

use serde_json::json;

use super::Bundle;

/// CVE-2019-19921 and its like: where /proc is a link, what is masked would lie elsewhere.
#[test]
fn a_link_in_the_place_of_proc_is_not_followed() {
    let Some(bundle) = Bundle::new("true") else { return };
    fs::remove_dir(bundle.root().join("proc")).unwrap();
    symlink("/tmp", bundle.root().join("proc")).unwrap();
    let told = bundle.refused();
    assert!(told.contains("/proc"), "{told}");
}

/// CVE-2025-52881 and CVE-2019-16884: a mount that covers what of /proc the runtime writes or masks.
#[test]
fn nothing_is_mounted_into_proc_by_name_or_by_a_link_of_the_image() {
    let Some(bundle) = Bundle::new("true") else { return };
    symlink("/proc/self/attr", bundle.root().join("link")).unwrap();
    for destination in ["/proc/self/attr", "/link", "/tmp/../proc/sys"] {
        bundle.change(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["source"] != "/tmp");
            mounts.push(json!({ "destination": destination, "type": "bind", "source": "/tmp",
                "options": ["bind"] }));
        });
        let told = bundle.refused();
        assert!(told.contains("/proc"), "{destination}: {told}");
    }
}

#[test]
fn links_of_the_image_lead_nowhere_on_the_host() {
    let Some(bundle) = Bundle::new("true") else { return };
    let outside = bundle.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, bundle.root().join("absolute")).unwrap();
    symlink("../../../../../..", bundle.root().join("up")).unwrap();
    let up = format!("/up{}", outside.display());
    bundle.change(|config| {
        for destination in ["/absolute/a", &format!("{up}/b")] {
            config["mounts"].as_array_mut().unwrap().push(json!({
                "destination": destination, "type": "tmpfs", "source": "tmpfs" }));
        }
        config["process"]["cwd"] = json!(format!("{up}/c"));
        config["linux"]["maskedPaths"] = json!([format!("{up}/d")]);
    });
    bundle.says();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

/// CVE-2019-5736: a program that is the runtime itself, with the image's libraries.
#[test]
fn the_runtimes_own_file_cannot_be_written_by_who_becomes_it() {
    let Some(mut bundle) = Bundle::new("exec sleep 1000") else { return };
    bundle.copy_program();
    bundle.create("c");
    // Between `create` and `start` the container's process still runs the runtime's program.
    let pid = bundle.state("c")["pid"].to_string();
    let file = format!("/proc/{pid}/exe");
    let opened = fs::OpenOptions::new().write(true).open(&file);
    let error = opened.expect_err("even root may not").raw_os_error();
    assert!(
        [rustix::io::Errno::ROFS, rustix::io::Errno::TXTBSY]
            .iter()
            .any(|errno| error == Some(errno.raw_os_error())),
        "{error:?}"
    );
    let handle = fs::File::open(&file).unwrap();
    bundle.ok(&["delete", "--force", "c"]);
    // Nobody runs it any more, and still.
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&handle));
    let error = fs::OpenOptions::new().write(true).open(again).expect_err("not even then");
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::ROFS.raw_os_error()));
}

/// CVE-2024-21626: a working directory that is a descriptor of the runtime's.
#[test]
fn no_descriptor_of_the_runtimes_is_a_working_directory() {
    let Some(bundle) = Bundle::new("pwd; ls") else { return };
    for number in 3..20 {
        bundle.change(|config| config["process"]["cwd"] = json!(format!("/proc/self/fd/{number}")));
        let ended = bundle.run(&["run", "c"]);
        assert!(!ended.stdout.contains("rootfs") && ended.code != 0, "{number}: {ended:?}");
    }
}

#[test]
fn broken_configurations_are_refused_with_the_place() {
    let Some(bundle) = Bundle::new("true") else { return };
    for (property, value, told) in [
        ("process", json!(null), "process"),
        ("root", json!(null), "root"),
        ("ociVersion", json!("2.0.0"), "ociVersion"),
        ("root", json!({ "path": "/nonexistent" }), "/nonexistent"),
        ("mounts", json!([{ "destination": "/", "type": "tmpfs" }]), "the root"),
        ("mounts", json!([{ "destination": "/x", "type": "bind" }]), "no source"),
        (
            "mounts",
            json!([{ "destination": "/x", "type": "bind", "source": "/no/such" }]),
            "/no/such",
        ),
        ("hooks", json!({ "prestart": [{ "path": "/no/such" }] }), "prestart"),
        ("linux", json!("text"), "config.json"),
    ] {
        let mut kept = json!(null);
        bundle.change(|config| {
            kept = config.clone();
            config[property] = value;
        });
        let said = bundle.refused();
        assert!(said.contains(told), "{property}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        bundle.change(|config| *config = kept);
    }
    for id in ["", "a/b", "..", "ä", "a b"] {
        assert!(bundle.fails(1, &["create", id]).contains("invalid container ID"), "{id}");
    }
    fs::write(bundle.path().join("config.json"), "{").unwrap();
    assert!(bundle.refused().contains("config.json"));
}
