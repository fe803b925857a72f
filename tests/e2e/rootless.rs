//! An ordinary user to whom the host lends ids (subuid(5)): files have the owners that they have in images.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::support::{NEWUIDMAP, Silo, data, host::text};

/// An image with a file of user 33 and group 34, as `box`.
fn with_image() -> Option<Silo> {
    let rootfs = data("busybox/rootfs.tar")?;
    let silo = Silo::with_lent_ids()?;
    let mut archive = tar::Builder::new(Vec::new());
    let mut entries = tar::Archive::new(fs::File::open(rootfs).unwrap());
    for entry in entries.entries().unwrap() {
        let entry = entry.unwrap();
        archive.append(&entry.header().clone(), entry).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_path("theirs").unwrap();
    header.set_uid(33);
    header.set_gid(34);
    header.set_mode(0o640);
    header.set_size(3);
    header.set_cksum();
    archive.append(&header, &b"hi\n"[..]).unwrap();
    let archive = silo.file("box.tar", archive.into_inner().unwrap());
    silo.ok(&["import", text(&archive), "box"]);
    Some(silo)
}

/// A file of a container's upper.
fn upper(silo: &Silo, name: &str, file: &str) -> PathBuf {
    let id = silo.inspect(name, "{{.Id}}");
    silo.root().join("containers").join(id).join("upper").join(file)
}

fn owner(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid())
}

#[test]
fn files_have_the_owners_of_the_image_and_of_who_they_are_given_to() {
    let Some(silo) = with_image() else { return };
    let line = "stat -c %u:%g /theirs; mkdir /d; echo x > /d/f; chown -R 1000:1001 /d; \
                stat -c %u:%g /d/f; chown 65537 /d || echo none";
    let said = silo.ok(&["run", "--name", "work", "box", "sh", "-c", line]);
    assert_eq!(said, "33:34\n1000:1001\nnone");
    assert_eq!(silo.ok(&["run", "--rm", "-u", "33:34", "box", "cat", "/theirs"]), "hi");
    let first = Silo::FIRST_LENT;
    assert_eq!(owner(&upper(&silo, "work", "d/f")), (first + 999, first + 1000));
    assert_eq!(silo.ok(&["diff", "work"]), "A /d\nA /d/f");
    silo.ok(&["commit", "work", "with"]);
    let again = silo.ok(&["run", "--rm", "with", "stat", "-c", "%u:%g", "/theirs", "/d/f"]);
    assert_eq!(again, "33:34\n1000:1001");
    silo.ok(&["rm", "work"]);
    silo.ok(&["rmi", "with", "box"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn archives_have_the_owners_that_are_seen_inside() {
    let Some(silo) = with_image() else { return };
    silo.ok(&["run", "--name", "work", "box", "sh", "-c", "echo x > /new && chown 7:8 /new"]);
    let exported = silo.home().join("all.tar");
    silo.ok(&["export", "-o", text(&exported), "work"]);
    let mut archive = tar::Archive::new(fs::File::open(exported).unwrap());
    let mut owners = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        if ["new", "theirs"].contains(&path.as_str()) {
            owners.push((path, entry.header().uid().unwrap(), entry.header().gid().unwrap()));
        }
    }
    owners.sort();
    assert_eq!(owners, [("new".to_owned(), 7, 8), ("theirs".to_owned(), 33, 34)]);
}

#[test]
fn copies_into_a_container_are_roots_and_out_of_it_the_users() {
    let Some(silo) = with_image() else { return };
    silo.ok(&["run", "-d", "--name", "runs", "box", "sleep", "1000"]);
    let file = silo.file("file", "copied");
    silo.ok(&["cp", text(&file), "runs:/file"]);
    let line = "stat -c %u /file; echo y > /own; chown 33 /own";
    assert_eq!(silo.ok(&["exec", "runs", "sh", "-c", line]), "0");
    assert_eq!(silo.ok(&["exec", "-u", "33", "runs", "id", "-u"]), "33");
    let out = silo.home().join("out");
    silo.ok(&["cp", "runs:/own", text(&out)]);
    assert_eq!((owner(&out).0, fs::read_to_string(&out).unwrap().as_str()), (1000, "y\n"));
    let refused = silo.fails(1, &["cp", "-a", "runs:/own", text(&out)]);
    assert!(refused.contains("only root can give files away"), "{refused}");
    silo.ok(&["rm", "-f", "runs"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn who_is_kept_is_alone() {
    let Some(silo) = with_image() else { return };
    let line = "id -u; cat /proc/self/uid_map | tr -s ' '; stat -c %U /theirs";
    let said = silo.ok(&["run", "--rm", "--userns", "keep-id", "box", "sh", "-c", line]);
    assert!(said.starts_with("1000\n 1000 0 1\n"), "{said}");
}

#[test]
fn a_user_beyond_what_is_lent_is_refused() {
    let Some(silo) = with_image() else { return };
    let refused = silo.fails(125, &["run", "--rm", "-u", "65537", "box", "true"]);
    assert!(refused.contains("no range of /etc/subuid"), "{refused}");
}

#[test]
fn a_mapper_that_fails_is_told_with_what_to_do() {
    let Some(mut silo) = Silo::with_lent_ids() else { return };
    let powerless = silo.file("newuidmap", fs::read(NEWUIDMAP).unwrap());
    fs::set_permissions(&powerless, fs::Permissions::from_mode(0o755)).unwrap();
    silo.see(powerless, NEWUIDMAP);
    let said = silo.fails(1, &["images"]);
    assert!(said.contains("caused by: newuidmap:"), "{said}");
    assert!(said.contains("hint: see newuidmap(1)"), "{said}");
}
