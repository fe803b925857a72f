//! How a guest is kept apart, where there is a choice.

use serde::{Deserialize, Serialize};

use crate::{Device, DeviceRule};

/// What is asked of the isolation itself. The default is the backend's own; it refuses what it
/// has no choice of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// What holds for all that is not asked for.
    pub isolation: Isolation,
    /// Whose users the guest's are; `None` leaves it to the isolation.
    pub users: Option<Users>,
    /// Capabilities that user 0 has beyond those of the isolation (capabilities(7)): names with or
    /// without `CAP_`, in any case, or `ALL`.
    pub add_capabilities: Vec<String>,
    /// Capabilities that it has not; named as those that are added, which win.
    pub drop_capabilities: Vec<String>,
    /// Whether programs are kept from gaining privileges by execve(2) (`no_new_privs`, prctl(2));
    /// `None` leaves it to the isolation.
    pub no_new_privileges: Option<bool>,
    /// Which system calls are permitted.
    pub seccomp: Seccomp,
    /// Whether the paths of /proc and /sys that are covered else are left open.
    pub open_system_paths: bool,
    /// Whether the guest has all that its user namespace can give: every capability, system call and
    /// path, and the host's devices.
    pub privileged: bool,
    /// Devices of the host that the guest is given.
    pub devices: Vec<Device>,
    /// Rules over devices that come after the backend's own: of those that match, the last holds.
    pub device_rules: Vec<DeviceRule>,
    /// The profile of AppArmor that confines programs; `None` leaves it to the backend.
    pub apparmor: Option<AppArmor>,
}

/// What of AppArmor confines a guest (apparmor.d(5)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppArmor {
    /// Nothing.
    Unconfined,
    /// The profile of this name, which the host's kernel has loaded.
    Profile(String),
}

/// How strongly a guest is kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// As strongly as ordinary servers and compilers allow.
    #[default]
    Default,
    /// As strongly as can be: for programs that compute, with a root file system that they
    /// cannot change and no network.
    Strict,
    /// As Docker does: for what needs no less.
    Docker,
}

impl Isolation {
    /// All of them, the strongest last.
    pub const ALL: [Self; 3] = [Self::Docker, Self::Default, Self::Strict];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Strict => "strict",
            Self::Docker => "docker",
        }
    }
}

/// Whose users a guest's are (`user_namespaces(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Users {
    /// Its own: whoever is root inside is nobody in particular outside.
    Own,
    /// The host's, by the same numbers: root inside is root outside.
    Host,
    /// Its own, but for one: whoever runs it is the same inside, by the same number, and the guest is
    /// that user unless another is named.
    #[serde(rename = "keep-id")]
    Kept,
}

/// Which system calls a guest may make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// Those of the isolation.
    #[default]
    Isolation,
    /// All.
    Unconfined,
    /// Those of a profile in Docker's format, which this is the JSON of.
    Profile(String),
}
