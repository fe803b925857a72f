//! Whole commands side by side.
//!
//! Contenders take turns, so that what disturbs the machine disturbs all of them, and are
//! compared by the ratio of their medians.

pub(crate) mod build;
pub(crate) mod commit;
mod disk;
pub(crate) mod files;
mod growth;
pub(crate) mod http;
mod image;
pub(crate) mod load;
mod peers;
pub(crate) mod runtime;
mod silo;
pub(crate) mod start;

use std::{
    env, fs,
    io::{Read as _, Seek as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use wait4::Wait4 as _;

/// What is done around a command without being part of its time.
type Step = Box<dyn Fn() -> Result<()>>;

/// A command that is timed, from its start until it has been waited for.
struct Contender {
    name: &'static str,
    command: Box<dyn Fn() -> Command>,
    before: Option<Step>,
    after: Option<Step>,
    /// Whether a process that runs on does the work: what the command used says nothing then.
    served: bool,
}

/// One run of a contender.
#[derive(Clone, Copy)]
struct Sample {
    took: Duration,
    /// What was done after it.
    after: Duration,
    /// User and system time of the command and all that it waited for.
    busy: Duration,
    /// The most memory that one process had at once, in bytes.
    peak: u64,
}

impl Contender {
    fn new(name: &'static str, command: impl Fn() -> Command + 'static) -> Self {
        let command = Box::new(command);
        Self { name, command, before: None, after: None, served: false }
    }

    /// `before` and `after` each run, the latter timed by itself.
    fn between(
        mut self,
        before: impl Fn() -> Result<()> + 'static,
        after: impl Fn() -> Result<()> + 'static,
    ) -> Self {
        self.before = Some(Box::new(before));
        self.after = Some(Box::new(after));
        self
    }

    fn served(mut self) -> Self {
        self.served = true;
        self
    }

    fn run(&self) -> Result<Sample> {
        self.before.as_ref().map_or(Ok(()), |before| before())?;
        let mut command = (self.command)();
        let mut errors = tempfile::tempfile()?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors.try_clone()?);
        let start = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let used = child.wait4()?;
        let took = start.elapsed();
        if !used.status.success() {
            let mut why = String::new();
            errors.rewind()?;
            errors.read_to_string(&mut why)?;
            ensure!(used.status.success(), "{}: {}: {}", self.name, used.status, why.trim());
        }
        let start = Instant::now();
        self.after.as_ref().map_or(Ok(()), |after| after())?;
        let (after, busy) = (start.elapsed(), used.rusage.utime + used.rusage.stime);
        Ok(Sample { took, after, busy, peak: used.rusage.maxrss })
    }
}

/// All runs of one contender.
struct Measured {
    name: &'static str,
    served: bool,
    samples: Vec<Sample>,
}

impl Measured {
    fn median<T: PartialOrd>(&self, of: impl Fn(&Sample) -> T) -> T {
        let mut values: Vec<T> = self.samples.iter().map(of).collect();
        values.sort_by(|one, other| one.partial_cmp(other).expect("measured values are numbers"));
        values.swap_remove(values.len() / 2)
    }

    fn milliseconds(&self) -> f64 {
        self.median(|sample| milliseconds(sample.took))
    }

    fn least(&self) -> f64 {
        self.samples.iter().map(|sample| milliseconds(sample.took)).fold(f64::INFINITY, f64::min)
    }
}

/// Runs the contenders in turns. One that fails its first run, which does not count, is left
/// out, and said to be; the first must not fail.
fn measure(contenders: Vec<Contender>, rounds: usize) -> Result<Vec<Measured>> {
    let mut able: Vec<(Contender, Vec<Sample>)> = Vec::new();
    for contender in contenders {
        match contender.run() {
            Ok(_) => able.push((contender, Vec::new())),
            Err(why) if able.is_empty() => return Err(why),
            Err(why) => println!("left out: {why:#}\n"),
        }
    }
    for _ in 0..rounds {
        for (contender, samples) in &mut able {
            samples.push(contender.run()?);
        }
    }
    let measured = |(contender, samples): (Contender, Vec<Sample>)| Measured {
        name: contender.name,
        served: contender.served,
        samples,
    };
    Ok(able.into_iter().map(measured).collect())
}

/// Measures the contenders and prints how each compares with the first.
fn compare(title: &str, contenders: Vec<Contender>, rounds: usize) -> Result<()> {
    let measured = measure(contenders, rounds)?;
    println!("{title}, {rounds} rounds\n");
    println!("| command | median ms | least ms | the first's median is |");
    println!("|---|---|---|---|");
    let first = measured[0].milliseconds();
    for one in measured {
        let (median, least) = (one.milliseconds(), one.least());
        println!("| {} | {median:.2} | {least:.2} | {:.2}x |", one.name, first / median);
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

/// Where `.ci/setup` puts what the tests need, which is what this needs.
fn data() -> Result<PathBuf> {
    let data = env::var_os("SILO_TEST_DATA").map(PathBuf::from).or_else(|| {
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
        Some(cache.join("silo-test"))
    });
    data.filter(|data| data.join("busybox").exists())
        .context("there is no test data; .ci/setup, as root, makes it")
}

/// A directory for one bench, removed with what is in it. On a disk, where stores are; not in
/// /tmp, which may be memory.
fn workplace(program: &Path) -> Result<tempfile::TempDir> {
    let target = program.parent().context("the program lies in a directory")?;
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(target)?)
}

/// A peer that is there, or `None` after saying why it is not.
fn left_out<T>(peer: Result<T>) -> Option<T> {
    peer.map_err(|why| println!("left out: {why:#}\n")).ok()
}

/// Removes a tree if there is one.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
