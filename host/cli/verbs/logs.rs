//! `silo logs`

use std::{
    io::{self, stderr, stdout},
    process::ExitCode,
    time::SystemTime,
};

use clap::Args;
use jiff::Timestamp;
use silo_engine::{LogOptions, Stream};

use crate::{context::Context, failure::Result, values};

/// Print what a container has printed
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Keep on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(short = 'n', long, visible_short_alias = 'N', value_name = "LINES|all", value_parser = tail)]
    tail: Option<Tail>,
    /// Only what is newer: 10m for ten minutes, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Put the time before each line
    #[arg(short, long)]
    timestamps: bool,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// How many lines from the end; none for all.
#[derive(Clone, Copy, Debug)]
struct Tail(Option<u64>);

fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" | "-1" => Ok(Tail(None)),
        _ => text
            .parse()
            .map(|lines| Tail(Some(lines)))
            .map_err(|_| "expected a number or all".to_owned()),
    }
}

fn since(text: &str) -> Result<Timestamp, String> {
    let ago = |duration| SystemTime::now().checked_sub(duration)?.try_into().ok();
    let has_unit = text.ends_with(['s', 'm', 'h']);
    let seconds = || text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let found = if has_unit { values::duration(text).ok().and_then(ago) } else { seconds() };
    found.or_else(|| text.parse().ok()).ok_or_else(|| {
        "expected 90s, 10m, 2h, seconds since 1970, or 2026-01-31T12:00:00Z".to_owned()
    })
}

impl Logs {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let options = LogOptions {
            follow: self.follow,
            tail: self.tail.and_then(|Tail(lines)| lines),
            since: self.since,
            ..LogOptions::default()
        };
        let (mut stdout, mut stderr) = (stdout().lock(), stderr().lock());
        engine.logs(&self.container, options, &mut |entry| -> io::Result<()> {
            let out: &mut dyn io::Write = match entry.stream {
                Stream::Stdout => &mut stdout,
                Stream::Stderr => &mut stderr,
            };
            if self.timestamps {
                write!(out, "{} ", entry.time)?;
            }
            out.write_all(entry.log.as_bytes())?;
            out.flush()
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_ago_or_absolute() {
        assert!(since("10m").unwrap() < Timestamp::now());
        assert_eq!(since("0").unwrap(), Timestamp::UNIX_EPOCH);
        assert_eq!(since("1970-01-01T00:00:00Z").unwrap(), Timestamp::UNIX_EPOCH);
        assert!(since("yesterday").is_err());
    }
}
