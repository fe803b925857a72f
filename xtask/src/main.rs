//! Chores of this repository, as `cargo xtask NAME`.
#![forbid(unsafe_code)]

mod bench;

use anyhow::{Context as _, Result, bail};

const USAGE: &str = "usage: cargo xtask bench start|runtime|load|commit|build|files|http [ROUNDS]";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (bench, rounds): (fn(usize) -> Result<()>, _) =
        match args.iter().map(String::as_str).take(2).collect::<Vec<_>>().as_slice() {
            ["bench", "start"] => (bench::start::run, bench::start::ROUNDS),
            ["bench", "commit"] => (bench::commit::run, bench::commit::ROUNDS),
            ["bench", "build"] => (bench::build::run, bench::build::ROUNDS),
            ["bench", "http"] => (bench::http::run, bench::http::ROUNDS),
            ["bench", "files"] => (bench::files::run, bench::files::ROUNDS),
            ["bench", "runtime"] => (bench::runtime::run, bench::runtime::ROUNDS),
            ["bench", "load"] => (bench::load::run, bench::load::ROUNDS),
            _ => bail!(USAGE),
        };
    match &args[2..] {
        [] => bench(rounds),
        [rounds] => {
            let rounds = rounds.parse().ok().filter(|&rounds| rounds > 0);
            bench(rounds.context(USAGE)?)
        }
        _ => bail!(USAGE),
    }
}
