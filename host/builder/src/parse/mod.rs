//! Dockerfiles: from text to instructions that know where they stand.
//!
//! The language is Docker's, as far as `docs/build.md` lists it. What lies outside of that is refused
//! with its place: nothing is passed over.

mod flags;
mod instruction;
mod lines;
mod print;
mod text;
mod values;

use std::fmt;

pub use self::{
    instruction::{
        Argument, Command, Copy, From, Healthcheck, Heredoc, Instruction, Pair, Run, Statement,
        Words,
    },
    text::{Position, Text},
};
use self::{lines::Lines, values::Reader};

/// A Dockerfile that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// Its text, to show lines of it.
    pub source: Source,
    /// The character that keeps the next from having a meaning.
    pub escape: char,
    /// `ARG`s before the first stage.
    pub arguments: Vec<Statement>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
}

/// What stands from one `FROM` to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Where its `FROM` stands.
    pub at: Position,
    /// Its `FROM`.
    pub from: From,
    /// The rest.
    pub statements: Vec<Statement>,
}

/// A file of instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What messages call it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What is wrong at a place of a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: Position,
    /// What, in one clause.
    pub message: String,
    /// What to do about it, or what it would need.
    pub hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(at: Position, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: None }
    }

    pub(crate) fn hinted(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl Source {
    /// A fault with the line that it is in, and a mark below its place.
    #[must_use]
    pub fn excerpt(&self, at: Position) -> String {
        let line = self.text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
        let line: String =
            line.trim_end().chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
        let number = at.line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(at.column.saturating_sub(1));
        format!("{number} | {line}\n{margin} | {indent}^")
    }
}

/// `NAME:LINE:COLUMN`, as compilers tell places.
pub(crate) struct Place<'a>(pub(crate) &'a Source, pub(crate) Position);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.0.name, self.1.line, self.1.column)
    }
}

/// Reads a Dockerfile.
pub fn parse(source: Source) -> Result<Dockerfile, (Source, Fault)> {
    match read(&source.text) {
        Ok((escape, arguments, stages)) => Ok(Dockerfile { source, escape, arguments, stages }),
        Err(fault) => Err((source, fault)),
    }
}

fn read(text: &str) -> Result<(char, Vec<Statement>, Vec<Stage>), Fault> {
    let mut lines = Lines::new(text);
    let directives = lines.directives()?;
    if let Some(syntax) = &directives.syntax {
        check_syntax(syntax)?;
    }
    let escape = directives.escape;
    let (mut arguments, mut stages) = (Vec::new(), Vec::<Stage>::new());
    while let Some(line) = lines.logical() {
        let statement = Reader { escape, lines: &mut lines }.statement(&line)?;
        match (statement.instruction, stages.last_mut()) {
            (Instruction::From(from), _) => {
                check_name(&stages, &from, statement.keyword.start())?;
                let at = statement.keyword.start();
                stages.push(Stage { at, from, statements: Vec::new() });
            }
            (instruction, Some(stage)) => {
                stage.statements.push(Statement { keyword: statement.keyword, instruction });
            }
            (instruction @ Instruction::Arg(_), None) => {
                arguments.push(Statement { keyword: statement.keyword, instruction });
            }
            (_, None) => {
                let message = format!("{} stands before any FROM", statement.keyword);
                return Err(Fault::new(statement.keyword.start(), message)
                    .hinted("a Dockerfile begins with FROM; only ARG may come before it"));
            }
        }
    }
    if stages.is_empty() {
        let end = Position { line: text.lines().count().max(1), column: 1 };
        return Err(
            Fault::new(end, "there is no FROM").hinted("begin with FROM IMAGE or FROM scratch")
        );
    }
    Ok((escape, arguments, stages))
}

/// Reads one instruction of the config of an image: what its `ONBUILD` says.
pub fn parse_trigger(source: Source) -> Result<(Source, Statement), (Source, Fault)> {
    let mut lines = Lines::new(&source.text);
    let read = match lines.logical() {
        Some(line) => Reader { escape: '\\', lines: &mut lines }.statement(&line),
        None => Err(Fault::new(Position { line: 1, column: 1 }, "it says nothing")),
    };
    match read {
        Ok(statement) => Ok((source, statement)),
        Err(fault) => Err((source, fault)),
    }
}

/// The language is Docker's own; others need programs that translate them.
fn check_syntax(syntax: &Text) -> Result<(), Fault> {
    let name = syntax.as_str().strip_prefix("docker.io/").unwrap_or(syntax.as_str());
    let is_own = |rest: &str| rest.is_empty() || rest.starts_with([':', '@']);
    if name.strip_prefix("docker/dockerfile").is_some_and(is_own) {
        return Ok(());
    }
    Err(Fault::new(syntax.start(), format!("the language `{syntax}` is not known")).hinted(
        "it needs a BuildKit frontend, which silo does not run; docker/dockerfile is built in",
    ))
}

fn check_name(stages: &[Stage], from: &From, at: Position) -> Result<(), Fault> {
    match &from.name {
        Some(name) if stages.iter().any(|stage| stage.from.name.as_ref() == Some(name)) => {
            Err(Fault::new(at, format!("two stages are called `{name}`")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
