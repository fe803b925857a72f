//! Registries: pulling images from them and pushing images to them, by the OCI distribution
//! specification and Docker's protocol before it.
//!
//! The store is the only place where anything is kept. This crate prints nothing and reads no
//! environment: what is to be known of the world is in [`Settings`].
//!
//! ```text
//! Client::new(Settings) -> Client            client.stop() -> Stop
//! client.pull(&Store, &Reference, &Selection, OnProgress) -> Result<Pulled>
//! client.push(&Store, image: &str, &Reference, Option<&Platform>, OnProgress) -> Result<Digest>
//! client.login(registry, user, secret) -> Result<String>
//! client.logout(registry) -> Result<bool>
//! ```
#![forbid(unsafe_code)]

mod auth;
mod blob;
mod client;
mod endpoint;
mod error;
mod fetch;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod http;
mod login;
mod parallel;
mod progress;
mod pull;
mod push;
mod repository;
mod retry;
mod settings;
mod stop;

pub use client::Client;
pub use error::{Error, Result};
pub use progress::{Arrival, OnProgress, Progress};
pub use pull::{Pulled, Selection};
pub use settings::{Proxies, Settings};
pub use stop::Stop;
