//! Whole commands side by side.
//!
//! Contenders take turns, so that what disturbs the machine disturbs all of them, and are
//! compared by the ratio of their medians.

mod peers;
pub(crate) mod start;

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

/// How many rounds are run unless the command line says otherwise.
pub(crate) const ROUNDS: usize = 50;

/// A command that is timed, from its start until it has been waited for.
struct Contender {
    name: &'static str,
    command: Box<dyn Fn() -> Command>,
}

impl Contender {
    fn new(name: &'static str, command: impl Fn() -> Command + 'static) -> Self {
        Self { name, command: Box::new(command) }
    }

    fn run(&self) -> Result<Duration> {
        let mut command = (self.command)();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = Instant::now();
        let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
        let took = start.elapsed();
        let why = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}: {}", self.name, output.status, why.trim());
        Ok(took)
    }
}

/// Runs the contenders in turns and prints how each compares with the first. One that fails
/// its first run is left out, and said to be.
fn compare(title: &str, contenders: Vec<Contender>, rounds: usize) -> Result<()> {
    let mut times: Vec<(Contender, Vec<Duration>)> = Vec::new();
    for contender in contenders {
        match contender.run() {
            Ok(_) => times.push((contender, Vec::new())),
            Err(why) if times.is_empty() => return Err(why),
            Err(why) => println!("left out: {why:#}\n"),
        }
    }
    for _ in 0..rounds {
        for (contender, took) in &mut times {
            took.push(contender.run()?);
        }
    }
    println!("{title}, {rounds} rounds\n");
    println!("| command | median ms | least ms | silo's median is |");
    println!("|---|---|---|---|");
    let mut first = None;
    for (contender, mut took) in times {
        took.sort();
        let median = milliseconds(took[took.len() / 2]);
        let ours = *first.get_or_insert(median);
        let (name, least) = (contender.name, milliseconds(took[0]));
        println!("| {name} | {median:.2} | {least:.2} | {:.2}x |", ours / median);
    }
    println!();
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A command that must succeed; its standard output, without the last line's end.
fn done(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {}", output.status, why.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// `program ARGS`
fn command(program: impl AsRef<Path>, args: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(args);
    command
}
