//! Guests in text form, run as containers.

mod cache;
mod composed;
mod conformance;
mod files;
mod harness;
mod http;
mod life;
mod network;
mod python;

use harness::Container;

/// A program that does what its arguments say.
const GUEST: &str = include_str!("guest.wat");

/// A container that runs [`GUEST`].
fn guest<const N: usize>(commands: [&str; N]) -> Container {
    Container::new(GUEST).args(commands)
}
