//! What this runtime has (features.md), and a configuration to begin with.

use oci_spec::runtime::{Linux, Spec};
use serde_json::{Value, json};

use super::{mount_options, record::VERSION};
use crate::policy;

/// What `features` tells.
#[must_use]
pub fn features() -> Value {
    let every = policy::Capabilities::named(["ALL".to_owned()]);
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
            "cgroup": { "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRAP",
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                    "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
                ],
                "archs": ["SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
                "knownFlags": [],
                "supportedFlags": [],
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": false },
            "intelRdt": { "enabled": false },
            "mountExtensions": { "idmap": { "enabled": false } },
            "netDevices": { "enabled": false },
        },
        "annotations": {},
    })
}

/// The configuration of a container with a shell, for `user` and `group` alone where they are given:
/// an ordinary user's.
#[must_use]
pub fn default_spec(rootless: Option<(u32, u32)>) -> Spec {
    let Some((user, group)) = rootless else { return Spec::default() };
    let mut spec = Spec::rootless(user, group);
    if let Some(linux) = spec.linux() {
        let resources = None;
        let linux: Linux = linux.clone();
        let mut linux = linux;
        linux.set_resources(resources);
        spec.set_linux(Some(linux));
    }
    spec
}
