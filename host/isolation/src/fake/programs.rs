//! The programs of the conformance suite, and a harness that runs them on the fake.

use std::{fs, path::Path};

use silo_layers::{Digest, Lower};
use tempfile::TempDir;

use super::{Context, FakeBackend, Program, Stopped};
use crate::{
    Bundle, IsolationBackend, Network, Process, User,
    conformance::{Guest, Harness},
};

/// The suite's guests, by name.
pub const ALL: &[(&str, Program)] = &[
    ("exit", |guest| Ok(guest.args[1].parse().unwrap_or(255))),
    ("args", |guest| {
        let lines = guest.args[1..].join("\n") + "\n";
        guest.print(lines.as_bytes()).map(|()| 0)
    }),
    ("env", |guest| {
        let lines = guest.env.join("\n") + "\n";
        guest.print(lines.as_bytes()).map(|()| 0)
    }),
    ("cat", cat),
    ("complain", |guest| {
        let line = format!("{}\n", guest.args[1]);
        guest.complain(line.as_bytes()).map(|()| 0)
    }),
    ("read", |guest| match guest.files.read(&guest.args[1]) {
        Ok(content) => guest.print(&content).map(|()| 0),
        Err(error) => failed(guest, &error),
    }),
    ("write", |guest| match guest.files.write(&guest.args[1], guest.args[2].as_bytes()) {
        Ok(()) => Ok(0),
        Err(error) => failed(guest, &error),
    }),
    ("remove", |guest| match guest.files.remove(&guest.args[1]) {
        Ok(()) => Ok(0),
        Err(error) => failed(guest, &error),
    }),
    ("sleep", |guest| {
        guest.print(b"ready\n")?;
        Err(guest.sleep())
    }),
    ("spin", |guest| {
        guest.print(b"ready\n")?;
        loop {
            guest.check()?;
        }
    }),
    ("abort", |guest| Err(guest.abort())),
];

fn cat(guest: &mut Context) -> Result<u8, Stopped> {
    let mut buffer = [0; 4096];
    loop {
        match guest.read(&mut buffer)? {
            0 => return Ok(0),
            read => guest.print(&buffer[..read])?,
        }
    }
}

fn failed(guest: &mut Context, error: &std::io::Error) -> Result<u8, Stopped> {
    guest.complain(format!("{error}\n").as_bytes()).map(|()| 1)
}

/// The name and arguments that make the programs in [`ALL`] do what `guest` says.
#[must_use]
pub fn arguments(guest: &Guest) -> Vec<String> {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    match guest {
        Guest::Exit(code) => owned(&["exit", &code.to_string()]),
        Guest::PrintArgs(args) => [owned(&["args"]), args.clone()].concat(),
        Guest::PrintEnv => owned(&["env"]),
        Guest::Cat => owned(&["cat"]),
        Guest::Complain(line) => owned(&["complain", line]),
        Guest::Read(path) => owned(&["read", path]),
        Guest::Write(path, text) => owned(&["write", path, text]),
        Guest::Remove(path) => owned(&["remove", path]),
        Guest::Sleep => owned(&["sleep"]),
        Guest::Spin => owned(&["spin"]),
        Guest::Abort => owned(&["abort"]),
        Guest::Missing => owned(&["missing"]),
        Guest::NotAProgram => owned(&["/text"]),
    }
}

/// Runs the suite on a [`FakeBackend`].
pub struct FakeHarness {
    backend: FakeBackend,
    layer: TempDir,
}

impl FakeHarness {
    /// A harness for `backend`, which runs programs named as in [`ALL`].
    ///
    /// # Panics
    /// When no temporary directory can be made.
    #[must_use]
    pub fn new(backend: FakeBackend) -> Self {
        let layer = tempfile::tempdir().expect("a temporary directory");
        write_layer(layer.path()).expect("a layer of two files");
        Self { backend, layer }
    }
}

fn write_layer(at: &Path) -> std::io::Result<()> {
    fs::write(at.join("greeting"), "hello\n")?;
    fs::write(at.join("text"), "no program\n")
}

impl Harness for FakeHarness {
    fn backend(&self) -> &dyn IsolationBackend {
        &self.backend
    }

    fn lower(&self) -> Lower {
        Lower { diff_id: Digest::from_bytes([0; 32]), path: self.layer.path().to_owned() }
    }

    fn process(&self, guest: &Guest) -> Process {
        let args = arguments(guest);
        Process { args, cwd: "/".to_owned(), ..Process::default() }
    }

    fn ask_too_much(&self, bundle: &mut Bundle) -> usize {
        bundle.network = Network::Host;
        bundle.process.user = Some(User::default());
        bundle.limits.memory = Some(1 << 20);
        3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fake_conforms() {
        crate::conformance::assert_conforms(&FakeHarness::new(FakeBackend::default()));
    }
}
