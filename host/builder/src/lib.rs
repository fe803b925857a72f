//! Images from Dockerfiles.
//!
//! ```text
//! parse::parse(Source) -> Dockerfile                         with the place of each word
//! build(&Engine, &Input, &BuildOptions, &dyn Host, &Stop) -> Result<Built>
//! ```
//!
//! Commands run in the engine's sandboxes; layers and what is known of steps are in the store. This
//! crate prints nothing, fetches nothing and reads no environment variable: its [`Host`] does.
#![forbid(unsafe_code)]

mod build;
mod config;
mod context;
mod error;
mod expand;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod ignore;
mod options;
pub mod parse;
mod pattern;
mod plan;

pub use self::{
    build::build,
    error::{Error, Result},
    options::{BuildOptions, Built, Event, Host, Input, Stop, Unprovided},
};
