//! What this backend cannot honour.

use silo_isolation::{Bundle, Isolation, Network, Refusal, Seccomp, Users};

/// Why there is no terminal.
pub(crate) const NO_TERMINAL: &str = "WebAssembly guests have no terminal";

/// Everything in `bundle` that is refused.
pub(crate) fn refusals(bundle: &Bundle) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut refuse = |what: &str, why: &str| {
        refusals.push(Refusal { what: what.to_owned(), why: why.to_owned() });
    };
    if bundle.process.terminal {
        refuse("a terminal (-t)", NO_TERMINAL);
    }
    if bundle.process.user.as_ref().is_some_and(|user| (user.uid, user.gid) != (0, 0)) {
        refuse("a user (-u)", "WASI has no users");
    }
    if bundle.network == Network::Host {
        refuse("--network host", "WebAssembly guests have no network");
    }
    let security = &bundle.security;
    if security.isolation == Isolation::Docker {
        refuse("--isolation docker", "Docker's is about Linux programs");
    }
    if security.users == Some(Users::Host) {
        refuse("--userns host", "WASI has no users");
    }
    if !security.add_capabilities.is_empty() {
        refuse("--cap-add", "WASI has no capabilities of users");
    }
    if security.no_new_privileges == Some(false) {
        refuse("--security-opt no-new-privileges=false", "WASI has no privileges to gain");
    }
    if security.seccomp != Seccomp::Isolation {
        refuse("--security-opt seccomp", "WebAssembly guests make no system calls");
    }
    if security.open_system_paths {
        refuse("--security-opt systempaths", "WASI has neither /proc nor /sys");
    }
    if bundle.limits.pids.is_some_and(|pids| pids < 1) {
        refuse("--pids-limit", "the guest itself is one");
    }
    if bundle.limits.nano_cpus == Some(0) {
        refuse("--cpus", "a guest without any processor time cannot run");
    }
    refusals
}
