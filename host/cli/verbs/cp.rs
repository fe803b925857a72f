//! `silo cp`

use std::{
    io::stdin,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use silo_engine::{CopyOptions, CopySource, CopyTarget};

use crate::{
    context::Context,
    failure::{Failure, Result},
    output, sink,
};

/// Copy files between a container and the host
///
/// One side is CONTAINER:PATH, the other a path of the host, or - for a tar archive on stdin or
/// stdout. A directory goes into a directory that exists, else under the new name; with /. at its end,
/// what is in it. Volumes are where they are mounted, in a container that runs what it has in memory,
/// too.
#[derive(Debug, Args)]
pub(crate) struct Cp {
    /// Keep users and groups, by number
    #[arg(short = 'a', long)]
    archive: bool,
    /// Follow the source where it is a symbolic link
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// What to copy
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Where to
    #[arg(value_name = "TARGET")]
    target: String,
}

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Side<'a> {
    Container { name: &'a str, path: &'a str },
    Host(PathBuf),
    Stream,
}

impl Cp {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let options = CopyOptions { follow: self.follow_link, owners: self.archive };
        let skipped = match (Side::of(&self.source), Side::of(&self.target)) {
            (Side::Container { name, path }, Side::Host(host)) => {
                engine.copy_from(name, path, CopyTarget::Path(&host), options)?
            }
            (Side::Container { name, path }, Side::Stream) => {
                sink::write(None, |output| {
                    let target = CopyTarget::Archive(output);
                    Ok(engine.copy_from(name, path, target, options).map(drop)?)
                })?;
                Vec::new()
            }
            (Side::Host(host), Side::Container { name, path }) => {
                engine.copy_to(name, CopySource::Path(&host), path, options)?
            }
            (Side::Stream, Side::Container { name, path }) => {
                engine.copy_to(name, CopySource::Archive(&mut stdin().lock()), path, options)?
            }
            (Side::Container { .. }, Side::Container { .. }) => {
                return Err(Failure::new("cannot copy between containers").with_hint(
                    "copy to the host and from there, or pipe one `silo cp` into another",
                ));
            }
            (_, Side::Host(_) | Side::Stream) => {
                return Err(Failure::new("neither side is a container")
                    .with_hint("name one as CONTAINER:PATH"));
            }
        };
        for path in skipped {
            output::note(&format!("not copied, as it is no file: {}", output::visible(&path)));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl<'a> Side<'a> {
    /// As Docker tells them apart: what begins with `/` or `.` is a path of the host, as is a drive.
    fn of(text: &'a str) -> Self {
        if text == "-" {
            return Self::Stream;
        }
        let host = || Self::Host(PathBuf::from(text));
        if text.starts_with('.') || Path::new(text).is_absolute() {
            return host();
        }
        match text.split_once(':') {
            Some((name, path)) if !name.contains(['/', '\\']) => Self::Container { name, path },
            _ => host(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_with_a_colon_is_a_container_unless_it_looks_like_a_path() {
        assert_eq!(Side::of("web:/etc"), Side::Container { name: "web", path: "/etc" });
        assert_eq!(Side::of("web:"), Side::Container { name: "web", path: "" });
        assert_eq!(Side::of("-"), Side::Stream);
        for path in ["file", "./a:b", "/a:b", "../x", "dir/a:b"] {
            assert_eq!(Side::of(path), Side::Host(PathBuf::from(path)), "{path}");
        }
    }
}
