//! Instructions as text, which reads back as the same.

use std::fmt::{self, Display, Formatter};

use super::instruction::{
    Command, Copy, From, Healthcheck, Heredoc, Instruction, Run, Statement, Words,
};

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.keyword, self.instruction)
    }
}

impl Statement {
    /// The instruction with the files that follow it.
    #[must_use]
    pub fn whole(&self) -> String {
        let mut text = format!("{self}\n");
        for Heredoc { name, body, .. } in self.instruction.heredocs() {
            text.push_str(body);
            text.push_str(name);
            text.push('\n');
        }
        text
    }
}

impl Instruction {
    /// Files that follow the line.
    #[must_use]
    pub fn heredocs(&self) -> &[Heredoc] {
        match self {
            Self::Run(Run { heredocs, .. })
            | Self::Copy(Copy { heredocs, .. })
            | Self::Add(Copy { heredocs, .. }) => heredocs,
            _ => &[],
        }
    }
}

impl Display for Instruction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(from) => from.fmt(f),
            Self::Run(run) => {
                let text = run.command.to_string();
                write!(f, "{}{text}", end_of_flags(&text))
            }
            Self::Copy(copy) | Self::Add(copy) => copy.fmt(f),
            Self::Env(pairs) | Self::Label(pairs) => {
                joined(f, pairs, |f, pair| write!(f, "{}={}", pair.name, pair.value))
            }
            Self::Arg(arguments) => joined(f, arguments, |f, argument| match &argument.default {
                Some(default) => write!(f, "{}={default}", argument.name),
                None => argument.name.fmt(f),
            }),
            Self::Workdir(text)
            | Self::User(text)
            | Self::Expose(text)
            | Self::Stopsignal(text) => text.fmt(f),
            Self::Volume(words) => words.fmt(f),
            Self::Cmd(command) | Self::Entrypoint(command) => command.fmt(f),
            Self::Shell(words) => array(f, words),
            Self::Healthcheck(None) => f.write_str("NONE"),
            Self::Healthcheck(Some(check)) => check.fmt(f),
            Self::Onbuild(statement) => statement.fmt(f),
        }
    }
}

/// What keeps a word from being taken for a flag.
fn end_of_flags(first: &str) -> &'static str {
    if first.starts_with("--") { "-- " } else { "" }
}

fn joined<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    write: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(" ")?;
        }
        write(f, item)?;
    }
    Ok(())
}

fn array<T: AsRef<str>>(f: &mut Formatter<'_>, words: &[T]) -> fmt::Result {
    f.write_str("[")?;
    for (index, word) in words.iter().enumerate() {
        let separator = if index > 0 { ", " } else { "" };
        write!(f, "{separator}{}", serde_json::Value::from(word.as_ref()))?;
    }
    f.write_str("]")
}

impl Display for From {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(platform) = &self.platform {
            write!(f, "--platform={platform} ")?;
        }
        write!(f, "{}{}", end_of_flags(self.image.as_str()), self.image)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " AS {name}"))
    }
}

impl Display for Copy {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, value) in [("from", &self.from), ("chown", &self.chown), ("chmod", &self.chmod)]
        {
            if let Some(value) = value {
                write!(f, "--{name}={value} ")?;
            }
        }
        let paths = self.paths.to_string();
        write!(f, "{}{paths}", end_of_flags(&paths))
    }
}

impl Display for Words {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(words) => joined(f, words, |f, word| word.fmt(f)),
            Self::Json(words) => {
                let words: Vec<_> = words.iter().map(super::Text::as_str).collect();
                array(f, &words)
            }
        }
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell(line) => line.fmt(f),
            Self::Exec(words) => array(f, words),
        }
    }
}

impl Display for Healthcheck {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, text, _) in &self.times {
            write!(f, "--{name}={text} ")?;
        }
        if let Some(retries) = self.retries {
            write!(f, "--retries={retries} ")?;
        }
        write!(f, "CMD {}", self.command)
    }
}
