//! The contract between silo's engine and the backends that isolate.
//!
//! # Glossary
//!
//! - **bundle**: everything one container is, as plain data: the program, its root file
//!   system, mounts, network and limits. Portable: it names no host mechanism.
//! - **backend**: an implementation of [`IsolationBackend`]: it turns a bundle into a sandbox.
//! - **sandbox**: one container as a backend holds it, from `create` to `delete`.
//! - **refusal**: one thing a bundle asks for that a backend cannot honour.
//!
//! # Life cycle
//!
//! ```text
//! runs(platform) ── admit(bundle) ── create(bundle, stdio) ── start ── wait ── delete
//!                    │ refusals           │ nothing of the       │ signal, exec,
//!                    └ told all at once   │ guest has run yet    │ terminal, stats
//!                                         └ failed: nothing is left behind
//! ```
//!
//! A sandbox lives in the process that created it, the container's supervisor, and in no
//! other. When that process dies without `delete`, its guest dies with it, and
//! [`IsolationBackend::reclaim`] removes what is left from any other process.
//!
//! What not every backend can do is an accessor that returns an `Option` of a smaller trait:
//! [`Sandbox::exec`], [`Sandbox::terminal`], [`Sandbox::files`], [`Sandbox::pause`],
//! [`Sandbox::processes`], [`Sandbox::limits`]. A caller can ask; it cannot run into it.
//!
//! A backend is right when it passes the `conformance` suite in this crate (feature
//! `conformance`), as the in-memory `fake` beside it does.

#![forbid(unsafe_code)]

mod backend;
mod bundle;
#[cfg(feature = "conformance")]
pub mod conformance;
mod device;
mod error;
mod exit;
#[cfg(feature = "conformance")]
pub mod fake;
mod limits;
mod network;
mod security;
mod signal;
mod ulimit;

pub use backend::{
    Adjust, Barrier, Exec, ExecProcess, IsolationBackend, LiveFiles, Pause, Processes, Sandbox,
    Stats, Stdio, Terminal, TerminalSize,
};
pub use bundle::{Bundle, DEFAULT_PATH, Mount, MountKind, Process, Root, User};
pub use device::{Device, DeviceAccess, DeviceKind, DeviceRule, InvalidDevice};
pub use error::{Error, Refusal, Result};
pub use exit::{Exit, ExitStatus};
pub use limits::{Ceiling, DeviceRate, InvalidSet, Limits, NumberSet, Throttle};
pub use network::{
    Destination, InvalidNetwork, Network, NetworkAccess, Peer, Ports, Protocol, Publication,
};
pub use security::{AppArmor, Isolation, Seccomp, Security, Users};
pub use signal::{InvalidSignal, Signal};
pub use ulimit::{InvalidUlimit, Resource, Ulimit};
