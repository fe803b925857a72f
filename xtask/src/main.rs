//! Chores of this repository, as `cargo xtask NAME`.
#![forbid(unsafe_code)]

mod bench;

use anyhow::{Context as _, Result, bail};

const USAGE: &str = "usage: cargo xtask bench start [ROUNDS]";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["bench", "start"] => bench::start::run(bench::ROUNDS),
        ["bench", "start", rounds] => {
            let rounds = rounds.parse().ok().filter(|&rounds| rounds > 0);
            bench::start::run(rounds.context(USAGE)?)
        }
        _ => bail!(USAGE),
    }
}
