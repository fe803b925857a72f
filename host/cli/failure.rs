//! How a command fails, and how that is told.

use std::{error::Error, fmt, io::Write as _, process::ExitCode};

use crate::format::TemplateError;

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Docker's exit code for a failure of the engine itself, and of the command line.
pub(crate) const ENGINE_FAILED: u8 = 125;
/// 128 + SIGPIPE: nobody reads what this program prints.
const NOBODY_READS: u8 = 141;

/// Why a command failed: for people, with an exit code for scripts.
#[derive(Debug)]
pub(crate) struct Failure {
    error: Box<dyn Error>,
    hint: Option<String>,
    /// The code as `run` gives it; verbs that run no program fail with 1.
    code: u8,
}

/// An error that is nothing but its text.
#[derive(Debug)]
struct Message {
    text: String,
    /// Whether its lines are this program's own.
    has_lines: bool,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Message {}

/// An error with a sentence of this program's and a cause.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Caused {
    message: String,
    source: Box<dyn Error>,
}

impl Failure {
    /// A command line that is not understood, in several lines.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        let error = Message { text: text.into(), has_lines: true };
        Self { error: Box::new(error), hint: None, code: ENGINE_FAILED }
    }

    /// A failure that is told by one sentence, without its full stop.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        let error = Message { text: message.into(), has_lines: false };
        Self { error: Box::new(error), hint: None, code: ENGINE_FAILED }
    }

    /// A failure with its cause.
    pub(crate) fn caused(message: impl Into<String>, source: impl Error + 'static) -> Self {
        let error = Caused { message: message.into(), source: Box::new(source) };
        Self { error: Box::new(error), hint: None, code: ENGINE_FAILED }
    }

    /// A failure of a part of this program, whose sentence says enough.
    #[cfg(target_os = "linux")]
    pub(crate) fn of(error: impl Error + 'static) -> Self {
        Self { error: Box::new(error), hint: None, code: ENGINE_FAILED }
    }

    /// The failure and its causes, for a log.
    #[cfg(target_os = "linux")]
    pub(crate) fn in_one_line(&self) -> String {
        let mut line = self.error.to_string();
        let mut cause = self.error.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }

    /// Adds what the user could do.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Gives it another exit code.
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// The exit code as `run` gives it: 125, or 126 and 127 where the program was at fault.
    pub(crate) const fn code(&self) -> u8 {
        self.code
    }

    /// Whether nobody said how a container ended.
    pub(crate) fn is_lost_supervisor(&self) -> bool {
        let error = self.error.downcast_ref::<silo_engine::Error>();
        matches!(error, Some(silo_engine::Error::SupervisorLost(_)))
    }

    /// Whether the reader of this program's output went away.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&*self.error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<std::io::Error>() {
                return error.kind() == std::io::ErrorKind::BrokenPipe;
            }
            cause = error.source();
        }
        false
    }

    /// The same, in the words of a program that others read the output of: they look for `error`.
    #[cfg(target_os = "linux")]
    pub(crate) fn report_as_error(&self) -> ExitCode {
        if self.is_broken_pipe() {
            return ExitCode::from(NOBODY_READS);
        }
        let text = self.to_string().replacen("silo: ", "silo: error: ", 1);
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
        ExitCode::from(self.code)
    }

    /// Tells it on stderr, and returns what to exit with. A reader that went away is no news.
    pub(crate) fn report(&self) -> ExitCode {
        if self.is_broken_pipe() {
            return ExitCode::from(NOBODY_READS);
        }
        // Where stderr is gone there is nobody left to tell.
        let _ = std::io::stderr().lock().write_all(self.to_string().as_bytes());
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "silo: {}", plain(&*self.error))?;
        let mut cause = self.error.source();
        while let Some(error) = cause {
            writeln!(f, "  caused by: {}", plain(error))?;
            cause = error.source();
        }
        self.hint.as_ref().map_or(Ok(()), |hint| writeln!(f, "  hint: {hint}"))
    }
}

/// An error's text as a terminal may have it. What an image or archive has put in, a name or a media
/// type, neither forges a line nor commands the terminal: lines that are not this program's go on
/// indented.
fn plain(error: &(dyn Error + 'static)) -> String {
    let own = error.downcast_ref::<Message>().is_some_and(|message| message.has_lines);
    let escaped = |character: char| match character {
        '\n' if own => "\n".to_owned(),
        '\n' => "\n    ".to_owned(),
        control if control.is_control() => control.escape_default().to_string(),
        other => other.to_string(),
    };
    error.to_string().chars().map(escaped).collect()
}

impl From<silo_engine::Error> for Failure {
    fn from(error: silo_engine::Error) -> Self {
        let (hint, code) = (error.hint(), error.exit_code());
        Self { error: Box::new(error), hint, code }
    }
}

impl From<silo_isolation::Error> for Failure {
    fn from(error: silo_isolation::Error) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { error: Box::new(error), hint, code: ENGINE_FAILED }
    }
}

impl From<silo_layers::Error> for Failure {
    fn from(error: silo_layers::Error) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { error: Box::new(error), hint, code: ENGINE_FAILED }
    }
}

impl From<silo_registry::Error> for Failure {
    fn from(error: silo_registry::Error) -> Self {
        let hint = error.hint();
        Self { error: Box::new(error), hint, code: ENGINE_FAILED }
    }
}

impl From<silo_builder::Error> for Failure {
    fn from(error: silo_builder::Error) -> Self {
        let hint = error.hint();
        Self { error: Box::new(error), hint, code: ENGINE_FAILED }
    }
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Self {
        Self { error: Box::new(error), hint: None, code: ENGINE_FAILED }
            .with_hint("templates are Go's: `--format '{{.ID}} {{.Image}}'`, or `--format json`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_its_causes_and_a_hint_each_on_a_line() {
        let error = std::io::Error::other("disk on fire");
        let failure = Failure::caused("cannot read `x`", error).with_hint("put it out");
        insta::assert_snapshot!(failure.to_string(), @r"
        silo: cannot read `x`
          caused by: disk on fire
          hint: put it out
        ");
    }

    #[test]
    fn no_message_forges_a_line_or_commands_the_terminal() {
        let failure = Failure::new("no such image: a\u{1b}[2J\nsilo: all is well");
        insta::assert_snapshot!(failure.to_string(), @r"
        silo: no such image: a\u{1b}[2J
            silo: all is well
        ");
    }

    #[test]
    fn a_reader_that_went_away_is_recognised_below_other_errors() {
        let error = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(Failure::caused("cannot write", error).is_broken_pipe());
        assert!(!Failure::new("cannot write").is_broken_pipe());
    }
}
