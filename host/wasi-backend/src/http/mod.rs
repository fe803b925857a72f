//! `wasi:http`: components that answer requests, and requests that guests make.
//!
//! A component that exports `wasi:http/incoming-handler` has no port and no socket: its requests come by
//! every TCP port that is published. Each is answered by an instance of its own, many at once.

mod connection;
mod outgoing;
mod pace;
mod service;

pub(crate) use outgoing::Hooks;
pub(crate) use service::{MAX_INSTANCES, Service, check};
