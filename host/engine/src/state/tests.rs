use silo_isolation::{Bundle, Limits, Network, Process, Root, Security, Signal};
use silo_layers::{Digest, Platform, Snapshot};
use tempfile::TempDir;

use super::*;
use crate::{ImageRecord, Status};

pub(crate) fn container(id: &str, name: &str) -> Container {
    let digest = Digest::from_bytes([0; 32]);
    let platform = Platform::linux();
    Container {
        id: id.to_owned(),
        name: name.to_owned(),
        created: jiff::Timestamp::UNIX_EPOCH,
        image: ImageRecord {
            name: "image".to_owned(),
            manifest: digest,
            id: digest,
            platform: platform.clone(),
        },
        backend: "fake".to_owned(),
        interactive: false,
        auto_remove: false,
        stop_signal: Signal::TERM,
        run: crate::RunConfig::default(),
        bundle: Bundle {
            id: id.to_owned(),
            platform,
            root: Root {
                snapshot: Snapshot { lowers: vec![], upper: "/u".into(), work: "/w".into() },
                readonly: false,
                volatile: false,
            },
            process: Process { args: vec!["true".to_owned()], ..Process::default() },
            hostname: "h".to_owned(),
            mounts: vec![],
            network: Network::None,
            access: silo_isolation::NetworkAccess::default(),
            components: Vec::new(),
            limits: Limits::default(),
            security: Security::default(),
            sysctls: std::collections::BTreeMap::new(),
            init: false,
            state_dir: "/s".into(),
        },
    }
}

fn add(containers: &Containers, digit: &str, name: &str) -> (Container, Lock) {
    let id = format!("{digit}{}", "0".repeat(64 - digit.len()));
    let lock = containers.add(&id).unwrap();
    containers.take_name(name, &id, Durability::Synced).unwrap();
    let container = container(&id, name);
    containers.publish(&container, Durability::Synced).unwrap();
    (container, lock)
}

fn root() -> (TempDir, Containers) {
    let root = tempfile::tempdir().unwrap();
    let containers = Containers::open(root.path()).unwrap();
    (root, containers)
}

#[test]
fn a_container_is_found_by_id_name_and_prefix() {
    let (_root, containers) = root();
    let (a, _a) = add(&containers, "ab", "first");
    let (b, _b) = add(&containers, "ac", "second");
    assert_eq!(containers.find(&a.id).unwrap(), a.id);
    assert_eq!(containers.find("second").unwrap(), b.id);
    assert_eq!(containers.find("ab").unwrap(), a.id);
    assert!(matches!(containers.find("a"), Err(Error::Ambiguous { ids, .. }) if ids.len() == 2));
    assert!(matches!(containers.find("third"), Err(Error::NotFound(_))));
    assert!(matches!(containers.find("../x"), Err(Error::NotFound(_))));
    assert_eq!(containers.load(&a.id).unwrap(), a);
    assert_eq!(containers.load_state(&a.id).unwrap().status, Status::Created);
}

#[test]
fn a_name_that_lost_its_content_with_the_power_goes_with_its_container() {
    for whole in [true, false] {
        let (root, containers) = root();
        let (container, lock) = add(&containers, "a", "web");
        let (_other, _lock) = add(&containers, "b", "other");
        fs::write(root.path().join("names/web"), "").unwrap();
        if whole {
            containers.remove(&container, lock).unwrap();
        } else {
            containers.remove_damaged(&container.id, lock).unwrap();
        }
        let left: Vec<_> = containers.all_names().unwrap().into_iter().map(|all| all.0).collect();
        assert_eq!(left, ["other"]);
    }
}

#[test]
fn a_name_is_one_containers_until_that_is_gone() {
    let (_root, containers) = root();
    let (a, lock) = add(&containers, "a", "web");
    let (b, _b) = add(&containers, "b", "other");
    let take = || containers.take_name("web", &b.id, Durability::Volatile);
    assert!(matches!(take(), Err(Error::NameInUse { .. })));
    containers.remove(&a, lock).unwrap();
    assert!(!containers.directory(&a.id).exists());
    take().unwrap();
    assert_eq!(containers.find("web").unwrap(), b.id);
}

/// The names of container `id`, all of them.
fn names_of(containers: &Containers, id: &str) -> Vec<String> {
    let names = containers.all_names().unwrap().into_iter();
    names.filter(|(_, owner)| owner == id).map(|(name, _)| name).collect()
}

#[test]
fn a_renamed_container_has_its_new_name_alone_and_takes_it_along() {
    let (_root, containers) = root();
    let (a, lock) = add(&containers, "a", "web");
    let (b, _b) = add(&containers, "b", "other");
    assert!(matches!(containers.rename(&a.id, "other"), Err(Error::NameInUse { .. })));
    assert_eq!(names_of(&containers, &a.id), ["web"]);
    containers.rename(&a.id, "new").unwrap();
    assert_eq!(names_of(&containers, &a.id), ["new"]);
    assert_eq!(containers.load(&a.id).unwrap(), Container { name: "new".to_owned(), ..a.clone() });
    containers.rename(&b.id, "web").unwrap();
    // As a supervisor has it that was started before.
    containers.remove(&a, lock).unwrap();
    let left: Vec<_> = containers.all_names().unwrap();
    assert_eq!(left, [("web".to_owned(), b.id)]);
    assert!(matches!(containers.rename(&a.id, "again"), Err(Error::NotFound(_))));
}

#[test]
fn a_renaming_that_was_interrupted_leaves_the_name_in_the_record() {
    let (root, containers) = root();
    let (a, lock) = add(&containers, "a", "web");
    let begin = || {
        fs::write(root.path().join("names/.renaming"), &a.id).unwrap();
        fs::write(root.path().join("names/new"), &a.id).unwrap();
    };
    begin();
    containers.settle_renaming().unwrap();
    assert_eq!(names_of(&containers, &a.id), ["web"]);
    begin();
    let renamed = Container { name: "new".to_owned(), ..a.clone() };
    containers.publish(&renamed, Durability::Synced).unwrap();
    containers.settle_renaming().unwrap();
    assert_eq!(names_of(&containers, &a.id), ["new"]);
    containers.rename(&a.id, "web").unwrap();
    begin();
    containers.remove(&a, lock).unwrap();
    containers.settle_renaming().unwrap();
    assert_eq!(names_of(&containers, &a.id), [""; 0]);
    assert!(!root.path().join("names/.renaming").exists());
}

#[test]
fn a_damaged_record_names_its_file_and_the_way_out() {
    let (_root, containers) = root();
    let (a, lock) = add(&containers, "a", "web");
    fs::write(containers.directory(&a.id).join("state.json"), "{").unwrap();
    let error = containers.load_state(&a.id).unwrap_err();
    assert!(error.to_string().ends_with("state.json"), "{error}");
    assert_eq!(error.hint().unwrap(), "remove the container: `silo rm -f a00000000000`");
    containers.remove_damaged(&a.id, lock).unwrap();
    assert!(matches!(containers.find("web"), Err(Error::NotFound(_))));
}

#[cfg(unix)]
#[test]
fn a_tree_that_its_owner_may_not_enter_is_removed() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_root, containers) = root();
    let (a, lock) = add(&containers, "a", "web");
    let closed = containers.directory(&a.id).join("upper/x/closed");
    fs::create_dir_all(closed.join("below")).unwrap();
    fs::set_permissions(closed.parent().unwrap(), fs::Permissions::from_mode(0o000)).unwrap();
    containers.remove(&a, lock).unwrap();
    assert!(!containers.directory(&a.id).exists());
}

#[test]
fn who_holds_no_lock_takes_it_and_who_waits_gets_it() {
    let (_root, containers) = root();
    let (a, lock) = add(&containers, "a", "web");
    let path = containers.lock_path(&a.id);
    assert!(matches!(Lock::try_take(&path), Ok(Probe::Held)));
    drop(lock);
    assert!(matches!(Lock::try_take(&path), Ok(Probe::Taken(_))));
    assert!(Lock::wait(&path).unwrap().is_some());
    assert!(matches!(Lock::try_take(&path.with_file_name("no")), Ok(Probe::Absent)));
}
