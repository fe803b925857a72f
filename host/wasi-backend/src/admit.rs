//! What this backend cannot honour.

use silo_isolation::{AppArmor, Bundle, Isolation, Limits, Refusal, Seccomp, Users};

/// Why there is no terminal.
pub(crate) const NO_TERMINAL: &str = "WebAssembly guests have no terminal";

/// Everything in `bundle` that is refused.
pub(crate) fn refusals(bundle: &Bundle) -> Vec<Refusal> {
    let mut refusals = bundle.limits.contradictions();
    refusals.extend(meaningless(&bundle.limits));
    refusals.extend(
        bundle.sysctls.keys().map(|name| {
            Refusal::new(format!("--sysctl {name}"), "WebAssembly guests have no kernel")
        }),
    );
    let mut refuse = |what: &str, why: &str| refusals.push(Refusal::new(what, why));
    if bundle.process.terminal {
        refuse("a terminal (-t)", NO_TERMINAL);
    }
    if bundle.process.user.as_ref().is_some_and(|user| (user.uid, user.gid) != (0, 0)) {
        refuse("a user (-u)", "WASI has no users");
    }
    if bundle.init {
        refuse("--init", "WebAssembly guests have no processes");
    }
    let security = &bundle.security;
    if security.isolation == Isolation::Docker {
        refuse("--isolation docker", "Docker's is about Linux programs");
    }
    if matches!(security.users, Some(Users::Host | Users::Kept)) {
        refuse("--userns", "WASI has no users");
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
    if matches!(security.apparmor, Some(AppArmor::Profile(_))) {
        refuse("--security-opt apparmor", "profiles confine Linux programs");
    }
    if security.privileged {
        refuse("--privileged", "WASI has no privileges to give");
    }
    if !security.devices.is_empty() || !security.device_rules.is_empty() {
        refuse("--device", "WASI has no devices");
    }
    if bundle.limits.pids.is_some_and(|pids| pids < 1) {
        refuse("--pids-limit", "the guest itself is one");
    }
    if bundle.limits.nano_cpus == Some(0) {
        refuse("--cpus", "a guest without any processor time cannot run");
    }
    refusals
}

/// Limits of what no guest here has.
fn meaningless(limits: &Limits) -> Vec<Refusal> {
    const NOT_SHARED: &str =
        "it is for guests that contend by cgroups, and WebAssembly guests have none";
    const NO_SWAP: &str = "the memory of WebAssembly guests is not swapped apart from the host's";
    const NO_DEVICES: &str = "WebAssembly guests use no devices";
    let rates = limits.device_rates.iter().map(|rate| (true, rate.what.option(), NO_DEVICES));
    [
        (limits.memory_reservation.is_some(), "--memory-reservation", NOT_SHARED),
        (limits.memory_swap.is_some(), "--memory-swap", NO_SWAP),
        (limits.memory_swappiness.is_some(), "--memory-swappiness", NO_SWAP),
        (
            limits.oom_kill_disable,
            "--oom-kill-disable",
            "a WebAssembly guest that is out of memory is told so, and not killed",
        ),
        (limits.cpu_shares.is_some(), "--cpu-shares", NOT_SHARED),
        (limits.cpuset_cpus.is_some(), "--cpuset-cpus", NOT_SHARED),
        (limits.cpuset_mems.is_some(), "--cpuset-mems", NOT_SHARED),
        (limits.blkio_weight.is_some(), "--blkio-weight", NO_DEVICES),
        (!limits.ulimits.is_empty(), "--ulimit", "WebAssembly guests have no processes"),
        (limits.oom_score_adj.is_some(), "--oom-score-adj", "WebAssembly guests have no processes"),
        (limits.shm_size.is_some(), "--shm-size", "WebAssembly guests share no memory"),
    ]
    .into_iter()
    .chain(rates)
    .filter(|(is_asked, ..)| *is_asked)
    .map(|(_, what, why)| Refusal::new(what, why))
    .collect()
}
