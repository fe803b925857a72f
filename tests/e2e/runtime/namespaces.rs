//! New namespaces, and existing ones.

use std::{fs, os::unix::fs::MetadataExt as _};

use serde_json::{Value, json};

use super::Bundle;

fn namespaces(config: &mut Value) -> &mut Vec<Value> {
    config["linux"]["namespaces"].as_array_mut().unwrap()
}

#[test]
fn a_user_namespace_has_the_mapped_ids_and_the_bundles_files() {
    let script = "cat /proc/self/uid_map; stat -c %u:%g /bin/busybox /bound; cat /bound; \
                  touch /made; chown 5:6 /made; ls /dev/null";
    let Some(bundle) = Bundle::new(script) else { return };
    let bound = bundle.path().join("bound");
    fs::write(&bound, "bound\n").unwrap();
    for path in [bundle.root(), bound.clone()] {
        let owned =
            std::process::Command::new("chown").args(["-R", "100000:100000"]).arg(path).status();
        assert!(owned.unwrap().success());
    }
    // Nobody but root may enter what these lie in.
    bundle.change(|config| {
        namespaces(config).push(json!({ "type": "user" }));
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        config["mounts"].as_array_mut().unwrap().push(
            json!({ "destination": "/bound", "type": "bind", "source": bound, "options": ["rbind"] }),
        );
        config["process"]["capabilities"]["effective"] = json!(["CAP_CHOWN"]);
        for set in ["bounding", "permitted", "inheritable"] {
            config["process"]["capabilities"][set] = json!(["CAP_CHOWN"]);
        }
        config["process"]["capabilities"]["ambient"] = json!([]);
    });
    let said = bundle.says();
    let said: Vec<_> = said.lines().collect();
    assert_eq!(said[0].split_whitespace().collect::<Vec<_>>(), ["0", "100000", "1000"]);
    assert_eq!(&said[1..], ["0:0", "0:0", "bound", "/dev/null"]);
    let made = fs::metadata(bundle.root().join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (100_005, 100_006));
}

#[test]
fn existing_namespaces_are_joined_by_their_paths() {
    let Some(first) = Bundle::new("exec sleep 1000") else { return };
    first.create("c");
    first.ok(&["start", "c"]);
    let pid = first.state("c")["pid"].clone();
    let kinds = [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")];
    let Some(second) =
        Bundle::new("for n in net ipc uts; do readlink /proc/self/ns/$n; done; echo $$")
    else {
        return;
    };
    second.change(|config| {
        config["hostname"] = json!(null);
        for (kind, file) in kinds {
            let namespaces = namespaces(config);
            namespaces.retain(|namespace| namespace["type"] != kind);
            namespaces.push(json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") }));
        }
    });
    let said = second.says();
    let links: Vec<_> = kinds[..3]
        .iter()
        .map(|(_, file)| fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap())
        .map(|link| link.to_string_lossy().into_owned())
        .collect();
    let said: Vec<_> = said.lines().collect();
    assert_eq!(said[..3], links);
    assert_ne!(said[3], "1", "it is a process among those of the first");
    second.change(|config| namespaces(config).last_mut().unwrap()["path"] = json!("/nonexistent"));
    assert!(second.refused().contains("/nonexistent"));
}

#[test]
fn names_settings_and_clocks_are_the_containers_own() {
    let script = "hostname; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward \
                  /proc/sys/kernel/shmmni /proc/uptime; ifconfig lo | grep -c UP";
    let Some(bundle) = Bundle::new(script) else { return };
    bundle.change(|config| {
        config["hostname"] = json!("own");
        config["domainname"] = json!("domain");
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1", "kernel.shmmni": "77" });
        namespaces(config).push(json!({ "type": "time" }));
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 5_000_000 } });
    });
    let said = bundle.says();
    let said: Vec<_> = said.lines().collect();
    assert_eq!(said[..4], ["own", "domain", "1", "77"]);
    let uptime: f64 = said[4].split(' ').next().unwrap().parse().unwrap();
    assert!(uptime >= 5_000_000.0, "{uptime}");
    assert_eq!(said[5], "1");
    for (setting, value) in [("kernel.panic", "1"), ("net/../kernel/panic", "1")] {
        bundle.change(|config| config["linux"]["sysctl"] = json!({ setting: value }));
        assert!(bundle.refused().contains("linux.sysctl"));
    }
}

#[test]
fn a_name_that_is_told_twice_must_be_the_same() {
    let Some(bundle) = Bundle::new("cat /proc/sys/kernel/domainname") else { return };
    bundle.change(|config| {
        config["domainname"] = json!("one.example");
        config["linux"]["sysctl"] = json!({ "kernel.domainname": "one.example" });
    });
    assert_eq!(bundle.says(), "one.example");
    bundle.change(|config| config["linux"]["sysctl"]["kernel.domainname"] = json!("other.example"));
    let told = bundle.refused();
    assert!(told.contains("domainname") && told.contains("other.example"), "{told}");
}

#[test]
fn what_would_be_the_hosts_is_refused() {
    let Some(bundle) = Bundle::new("true") else { return };
    for (kind, property) in [("mount", "linux.namespaces"), ("uts", "hostname")] {
        let mut kept = Value::Null;
        bundle.change(|config| {
            kept = config.clone();
            namespaces(config).retain(|namespace| namespace["type"] != kind);
        });
        let told = bundle.refused();
        assert!(told.contains(property), "{told}");
        bundle.change(|config| *config = kept);
    }
    bundle.change(|config| namespaces(config).push(json!({ "type": "pid" })));
    assert!(bundle.refused().contains("two of type pid"));
}
