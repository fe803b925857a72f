//! What this backend cannot honour.

use silo_isolation::{Bundle, Network, Refusal, Users};

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
    if bundle.security.users == Users::Host {
        refuse("--userns host", "WASI has no users");
    }
    if bundle.limits.pids.is_some_and(|pids| pids < 1) {
        refuse("--pids-limit", "the guest itself is one");
    }
    if bundle.limits.nano_cpus == Some(0) {
        refuse("--cpus", "a guest without any processor time cannot run");
    }
    refusals
}
