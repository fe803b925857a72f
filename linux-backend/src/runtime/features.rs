//! What this runtime has (features.md), and a configuration to begin with.

use std::path::Path;

use serde_json::{Value, json};
use silo_isolation::DEFAULT_PATH;

use super::{
    cgroups::Place,
    mount_options,
    priorities::{MEMORY_FLAGS, MEMORY_MODES},
    record::VERSION,
};
use crate::{policy, seccomp::FLAGS};

/// What `features` tells.
#[must_use]
pub fn features() -> Value {
    let every = policy::Capabilities::named(["ALL".to_owned()]);
    let flags = FLAGS.map(|(name, _)| name);
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": VERSION,
        "hooks": [
            "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
        ],
        "mountOptions": mount_options::names(),
        "linux": {
            "namespaces": [
                "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts",
            ],
            "capabilities": every.names(),
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE",
                    "SCMP_ACT_TRAP",
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                    "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
                ],
                "archs": ["SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
                "knownFlags": flags,
                "supportedFlags": flags,
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": false },
            "mountExtensions": { "idmap": { "enabled": true } },
            "memoryPolicy": {
                "modes": MEMORY_MODES.map(|(name, _)| name),
                "flags": MEMORY_FLAGS.map(|(name, _)| name),
            },
            "netDevices": { "enabled": true },
        },
        "annotations": {},
    })
}

/// The configuration of a container with a shell, for `user` and `group` alone where they are given:
/// an ordinary user's. It is what runc's `spec` writes.
#[must_use]
pub fn default_spec(rootless: Option<(u32, u32)>) -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let unified = Place::find(Path::new("/")).is_ok_and(|place| place.only_unified().is_some());
    let mut kinds = vec!["pid", "network", "ipc", "uts", "mount"];
    if unified {
        kinds.push("cgroup");
    }
    let mut linux = json!({
        "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
        "maskedPaths": [
            "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
            "/proc/scsi",
        ],
        "readonlyPaths": [
            "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
        ],
    });
    if let Some((user, group)) = rootless {
        kinds.push("user");
        // An ordinary user has no network namespace to set up, and no cgroup to limit.
        kinds.retain(|kind| *kind != "network");
        linux["resources"] = json!({});
        let map = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
        linux["uidMappings"] = map(user);
        linux["gidMappings"] = map(group);
    }
    linux["namespaces"] = kinds.iter().map(|kind| json!({ "type": kind })).collect();
    json!({
        "ociVersion": VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": [format!("PATH={DEFAULT_PATH}"), "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "silo",
        "mounts": mounts(rootless.is_some()),
        "linux": linux,
    })
}

fn mounts(rootless: bool) -> Value {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": source, "options": options });
    // Of an ordinary user only one group is there.
    let terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let terminals = if rootless { &terminals[..5] } else { &terminals };
    let devices = ["nosuid", "strictatime", "mode=755", "size=65536k"];
    let shared = ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"];
    let cgroups = ["nosuid", "noexec", "nodev", "relatime", "ro"];
    let system = ["nosuid", "noexec", "nodev", "ro"];
    json!([
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &devices),
        mount("/dev/pts", "devpts", "devpts", terminals),
        mount("/dev/shm", "tmpfs", "shm", &shared),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        if rootless {
            mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"])
        } else {
            mount("/sys", "sysfs", "sysfs", &system)
        },
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &cgroups),
    ])
}
