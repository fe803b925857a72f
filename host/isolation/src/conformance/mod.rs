//! The suite that every backend passes.
//!
//! A backend comes with a [`Harness`]: its own way to do what a handful of [`Guest`]s do. The
//! suite makes bundles of them and holds the backend to the contract, in black-box fashion.
//!
//! ```ignore
//! #[test]
//! fn my_backend_conforms() {
//!     silo_isolation::conformance::assert_conforms(&MyHarness::new());
//! }
//! ```

mod cases;
mod setup;

use std::{fmt, fmt::Write as _};

use silo_layers::Lower;

use crate::{Bundle, IsolationBackend, Process};

pub use cases::CASES;
pub use setup::Setup;

/// What a backend brings to the suite.
pub trait Harness {
    /// The backend.
    fn backend(&self) -> &dyn IsolationBackend;

    /// A layer with the guests' programs. It holds the file `/greeting` with the text `hello\n`,
    /// and the suite checks that it stays as it is.
    fn lower(&self) -> Lower;

    /// The program that does what `guest` says, with arguments and environment as needed and `/`
    /// as its working directory.
    fn process(&self, guest: &Guest) -> Process;

    /// Asks in `bundle` for things that this backend cannot honour here, and returns how many
    /// they are. 0 where it honours all that a bundle can say.
    fn ask_too_much(&self, bundle: &mut Bundle) -> usize {
        let _ = bundle;
        0
    }
}

/// What a guest does. Where it fails to, it exits with a code that is not 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guest {
    /// Exits with this code.
    Exit(u8),
    /// Prints these arguments, which it was given, one a line.
    PrintArgs(Vec<String>),
    /// Prints its whole environment, one variable a line. The suite sets `env`.
    PrintEnv,
    /// Copies stdin to stdout until its end.
    Cat,
    /// Prints this line to stderr and nothing to stdout.
    Complain(String),
    /// Prints the content of the file at this absolute path.
    Read(String),
    /// Makes a file, or empties it, and writes this text to it.
    Write(String, String),
    /// Removes the file.
    Remove(String),
    /// Prints the line `ready`, then sleeps for ever.
    Sleep,
    /// Prints the line `ready`, then computes for ever.
    Spin,
    /// Ends as a failed assertion ends it: exit code 134.
    Abort,
    /// A program that does not exist in the image.
    Missing,
    /// A file of the image that is no program.
    NotAProgram,
}

/// One thing that the contract demands.
pub struct Case {
    /// What is demanded, as a sentence.
    pub name: &'static str,
    /// Looks whether it holds.
    pub run: fn(&Setup<'_>) -> Outcome,
}

/// Whether a demand is met; if not, what was seen.
pub type Outcome = Result<(), Failed>;

/// What was seen where the contract demands something else.
#[derive(Debug)]
pub struct Failed(String);

impl<T: fmt::Display> From<T> for Failed {
    fn from(seen: T) -> Self {
        Self(seen.to_string())
    }
}

/// Runs every case and panics with the list of what does not hold.
///
/// # Panics
/// When the backend does not conform, or no temporary directory can be made.
pub fn assert_conforms(harness: &dyn Harness) {
    let mut failures = String::new();
    for case in CASES {
        let setup = Setup::new(harness);
        if let Err(Failed(seen)) = (case.run)(&setup) {
            let _ = writeln!(failures, "- {}: {seen}", case.name);
        }
    }
    let name = harness.backend().name();
    assert!(failures.is_empty(), "backend `{name}` breaks the contract:\n{failures}");
}
