//! What a user sees of a row of commands, for snapshots.

use std::fmt::Write as _;

use super::{Ended, Silo, filters};

/// Commands with what they print and exit with.
pub(crate) struct Transcript<'a> {
    silo: &'a Silo,
    text: String,
}

impl<'a> Transcript<'a> {
    pub(crate) fn of(silo: &'a Silo) -> Self {
        Self { silo, text: String::new() }
    }

    /// Runs a command and notes what it says.
    pub(crate) fn run(&mut self, args: &[&str]) -> &mut Self {
        let ended = self.silo.run(args);
        self.note(args, &ended)
    }

    /// The same for a command with an input.
    pub(crate) fn with_input(&mut self, args: &[&str], input: &[u8]) -> &mut Self {
        let ended = self.silo.with_input(args, input);
        self.note(args, &ended)
    }

    fn note(&mut self, args: &[&str], ended: &Ended) -> &mut Self {
        assert!(!ended.stderr.contains("panicked"), "silo {args:?}: {ended:#?}");
        let quoted = |arg: &&str| match *arg {
            "" => "''".to_owned(),
            arg if arg.contains([' ', '{', '\'']) => format!("\"{arg}\""),
            arg => arg.to_owned(),
        };
        let args: Vec<String> = args.iter().map(quoted).collect();
        let Ended { code, stdout, stderr } = ended;
        writeln!(self.text, "$ silo {}\n{stdout}{stderr}[{code}]\n", args.join(" "))
            .expect("text takes any text");
        self
    }

    /// Compares all of it with the snapshot `name`.
    #[track_caller]
    pub(crate) fn assert(&self, name: &str) {
        filters(self.silo).bind(|| insta::assert_snapshot!(name, self.text));
    }
}
