//! The backend on this machine: real namespaces, with busybox as the guest.
//!
//! Runs as root and then, by itself, once more as an unprivileged user.
#![cfg(target_os = "linux")]
// A test says by panicking what went wrong.
#![allow(clippy::unwrap_used)]

mod conformance;
mod devices;
mod exec;
mod init;
mod isolation;
mod isolations;
mod lifecycle;
mod limits;
mod machine;
mod resources;
mod unprivileged;
mod users;
