//! The engine with supervisors in processes of their own, over the fake backend.
//!
//! This program is the supervisor, too: `engine supervise ROOT ID BACKEND`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod crashes;
mod life;
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, verb, root, id, backend] = args.as_slice()
        && verb == "supervise"
    {
        let ended = silo_engine::supervise(root.as_ref(), id, backend, &support::backends());
        return if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let trials = life::TESTS.iter().chain(crashes::TESTS).map(|&(name, test)| {
        Trial::test(name, move || {
            test(&support::Fixture::new());
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
