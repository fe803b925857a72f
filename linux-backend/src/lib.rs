//! Runs Linux programs apart from the host: namespaces, cgroups, seccomp, capabilities.
//!
//! [`LinuxBackend`] is an [`IsolationBackend`](silo_isolation::IsolationBackend). From bundle to
//! program:
//!
//! 1. `facts` looks up what the bundle makes it need to know of the host; `ids` lends a range of user ids.
//! 2. `plan` computes everything that is to be done, as plain data, by the `policy` of an isolation;
//!    `seccomp` compiles tables and profiles of system calls.
//! 3. `cgroup` makes the cgroups, whose processes open what `devices` permits; `record` writes down what [`reclaim`] would have to remove.
//! 4. `child`, cloned into new namespaces, follows the plan and waits just before execve(2);
//!    `protocol` is what it and its parent say to each other, `outside` what the parent does for it, as
//!    it has no rights over the host.
//! 5. `sandbox` lets it go, signals it, waits for it and removes what was made; `exec` runs further
//!    processes beside it, `files` shows what it has mounted.
//!
//! `policy` holds what each isolation permits as tables ([`defaults`]). `sys` is the only place with
//! `unsafe`.
//!
//! The guest's first process is killed when the thread that called `create` ends
//! (`PR_SET_PDEATHSIG` is about threads): create sandboxes on a thread that outlives them.
//!
//! Needs Linux 5.12: `mount_setattr(2)`, clone3(2), openat2(2), `close_range(2)`; as root 5.19, for overlayfs
//! over layers whose ids are mapped, unless a container has the host's users.
//!
//! [`reclaim`]: silo_isolation::IsolationBackend::reclaim
#![cfg(target_os = "linux")]

mod backend;
mod cgroup;
mod child;
mod devices;
mod exec;
mod explain;
mod facts;
mod files;
mod guest;
mod ids;
mod outside;
mod plan;
mod policy;
mod protocol;
mod record;
mod resources;
mod respawn;
mod rootless;
pub mod runtime;
mod sandbox;
mod seccomp;
#[allow(unsafe_code)]
mod sys;
mod terminal;

pub use backend::LinuxBackend;
pub use policy::{Defaults, Mounted, Syscall, defaults};
pub use respawn::{apart, respawn};
pub use rootless::enter_own_users;
