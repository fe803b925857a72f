//! The program as its users have it: every test runs the built `silo` with a store of its own.
//!
//! What a test needs and the machine lacks is told, and the test left out; with `CI=true` that
//! is a failure. `.ci/setup` makes what is needed.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

mod support;

mod attached;
mod bad_input;
mod builds;
mod changes;
mod copies;
mod crash;
mod full_disk;
mod hello;
mod isolation;
mod isolation_wasi;
mod isolations;
mod limits;
mod linux_images;
mod network_wasi;
mod other_systems;
mod parallel;
mod pauses;
mod registries;
mod rootless;
mod runtime;
mod save;
mod supervisor;
mod two_platforms;
mod usage;
mod verbs;
mod wasm_artifacts;
mod wasm_images;
mod wasm_programs;
mod webapp;
