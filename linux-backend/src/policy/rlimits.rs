//! Limits of each process.

use silo_isolation::{Resource, Ulimit};

/// What holds for every process unless it is asked for otherwise: setrlimit(2).
pub(crate) const RLIMITS: &[Ulimit] = &[
    // A core dump of a guest would go where the host's core_pattern says.
    Ulimit { resource: Resource::Core, soft: Some(0), hard: Some(0) },
    // systemd's: programs that use select(2) break with more, the others raise it.
    Ulimit { resource: Resource::Nofile, soft: Some(1024), hard: Some(524_288) },
];
