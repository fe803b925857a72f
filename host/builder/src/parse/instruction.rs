//! What a Dockerfile says, instruction by instruction. Values are as they are written: variables are
//! replaced when the instruction is carried out.

use super::text::{Position, Text};

/// An instruction and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its word.
    pub keyword: Text,
    /// What it says.
    pub instruction: Instruction,
}

impl Statement {
    /// Where it begins.
    #[must_use]
    pub fn at(&self) -> Position {
        self.keyword.start()
    }
}

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `FROM`: begins a stage.
    From(From),
    /// `RUN`.
    Run(Run),
    /// `COPY`.
    Copy(Copy),
    /// `ADD`: the same with archives unpacked.
    Add(Copy),
    /// `ENV`: names and values.
    Env(Vec<Pair>),
    /// `LABEL`: names and values.
    Label(Vec<Pair>),
    /// `ARG`: names, and values that they have unless others are given.
    Arg(Vec<Argument>),
    /// `WORKDIR`.
    Workdir(Text),
    /// `USER`.
    User(Text),
    /// `EXPOSE`.
    Expose(Text),
    /// `VOLUME`.
    Volume(Words),
    /// `CMD`.
    Cmd(Command),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `SHELL`: what runs commands in shell form.
    Shell(Vec<String>),
    /// `STOPSIGNAL`.
    Stopsignal(Text),
    /// `HEALTHCHECK`; none for `HEALTHCHECK NONE`.
    Healthcheck(Option<Healthcheck>),
    /// `ONBUILD`: for images that are built on this one.
    Onbuild(Box<Statement>),
}

/// `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// `--platform`.
    pub platform: Option<Text>,
    /// An image, a stage's name, or `scratch`.
    pub image: Text,
    /// The stage's name, in lower case.
    pub name: Option<String>,
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What is run.
    pub command: Command,
    /// What follows the line, in the order of its marks.
    pub heredocs: Vec<Heredoc>,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A line for the shell.
    Shell(Text),
    /// A program and its arguments.
    Exec(Vec<String>),
}

/// `COPY` and `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// `--from`: a stage or an image.
    pub from: Option<Text>,
    /// `--chown`.
    pub chown: Option<Text>,
    /// `--chmod`.
    pub chmod: Option<Text>,
    /// Sources, the last being the destination. At least two.
    pub paths: Words,
    /// Files that are in the Dockerfile itself: their marks are among the sources.
    pub heredocs: Vec<Heredoc>,
}

/// Words that are separated by white space, or strings of a JSON array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// `a b`
    Plain(Vec<Text>),
    /// `["a", "b"]`
    Json(Vec<Text>),
}

impl Words {
    /// The words.
    #[must_use]
    pub fn as_slice(&self) -> &[Text] {
        let (Self::Plain(words) | Self::Json(words)) = self;
        words
    }
}

/// Lines of the Dockerfile that are a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The mark as it stands in the line: `<<-"EOF"`.
    pub mark: String,
    /// The word of its last line.
    pub name: String,
    /// Its lines.
    pub body: String,
    /// Whether variables are replaced in it.
    pub expands: bool,
}

/// A name and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: Text,
    /// The value.
    pub value: Text,
}

/// One of `ARG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The name.
    pub name: Text,
    /// The value that it has unless another is given.
    pub default: Option<Text>,
}

/// `HEALTHCHECK`. Times are in nanoseconds, as configs have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthcheck {
    /// `--interval`, `--timeout`, `--start-period` and `--start-interval`, as they are written.
    pub times: Vec<(&'static str, Text, u64)>,
    /// `--retries`.
    pub retries: Option<u32>,
    /// What is run.
    pub command: Command,
}
