//! Lines of the file, joined where they continue, without comments.

use super::{
    Fault,
    text::{Position, Text},
};

/// What stands at the top of a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) escape: char,
    /// The language that it asks for.
    pub(super) syntax: Option<Text>,
}

/// Reads a file line by line.
pub(super) struct Lines<'a> {
    all: Vec<&'a str>,
    next: usize,
    escape: char,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().map(|line| line.trim_end_matches('\r'));
        Self { all: lines.collect(), next: 0, escape: '\\' }
    }

    /// Reads the directives: comments of the form `# name=value` before anything else.
    pub(super) fn directives(&mut self) -> Result<Directives, Fault> {
        let mut found = Directives { escape: '\\', syntax: None };
        let mut seen = Vec::new();
        while let Some((name, value)) = self.all.get(self.next).and_then(|line| {
            let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
            Some((name.trim().to_ascii_lowercase(), value.trim()))
        }) {
            let line = self.all[self.next];
            let offset = value.as_ptr() as usize - line.as_ptr() as usize;
            let column = line[..offset].chars().count() + 1;
            let value = Text::new(value, Position { line: self.next + 1, column });
            match name.as_str() {
                "escape" | "syntax" | "check" if seen.contains(&name) => {
                    let message = format!("the directive `{name}` is given twice");
                    return Err(Fault::new(value.start(), message));
                }
                "escape" => found.escape = escape(&value)?,
                "syntax" => found.syntax = Some(value),
                // What a linter should say: there is none here.
                "check" => {}
                _ => break,
            }
            seen.push(name);
            self.next += 1;
        }
        self.escape = found.escape;
        Ok(found)
    }

    /// The next logical line.
    pub(super) fn logical(&mut self) -> Option<Text> {
        loop {
            let (line, number) = self.content()?;
            let stripped = line.trim_start();
            let column = line[..line.len() - stripped.len()].chars().count() + 1;
            let (content, mut continues) = self.continued(stripped);
            let mut text = Text::new(content, Position { line: number, column });
            while continues && let Some((line, number)) = self.content() {
                let (content, more) = self.continued(line);
                text.push(content, Position { line: number, column: 1 });
                continues = more;
            }
            let text = text.trimmed();
            if !text.as_str().is_empty() {
                return Some(text);
            }
        }
    }

    /// The lines up to one that is `name` alone. `strips` has tabs at their beginnings left out.
    pub(super) fn heredoc(&mut self, name: &str, strips: bool) -> Option<String> {
        let mut body = String::new();
        while let Some(line) = self.all.get(self.next) {
            self.next += 1;
            let line = if strips { line.trim_start_matches('\t') } else { line };
            if line == name {
                return Some(body);
            }
            body.push_str(line);
            body.push('\n');
        }
        None
    }

    /// The next line that is neither blank nor a comment, with its number.
    fn content(&mut self) -> Option<(&'a str, usize)> {
        while let Some(line) = self.all.get(self.next) {
            self.next += 1;
            let stripped = line.trim_start();
            if !stripped.is_empty() && !stripped.starts_with('#') {
                return Some((line, self.next));
            }
        }
        None
    }

    /// A line without the mark that it continues, and whether it has one: an escape at its end that is
    /// not escaped itself.
    fn continued(&self, line: &'a str) -> (&'a str, bool) {
        let end = line.trim_end();
        match end.strip_suffix(self.escape) {
            Some(content) if !content.ends_with(self.escape) => (content, true),
            _ => (line, false),
        }
    }
}

fn escape(value: &Text) -> Result<char, Fault> {
    match value.as_str() {
        "\\" => Ok('\\'),
        "`" => Ok('`'),
        other => {
            let message = format!("`{other}` cannot be the escape character");
            Err(Fault::new(value.start(), message).hinted("it is \\ or `"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logical(text: &str) -> Vec<String> {
        let mut lines = Lines::new(text);
        lines.directives().unwrap();
        std::iter::from_fn(|| lines.logical()).map(|line| line.to_string()).collect()
    }

    #[test]
    fn lines_continue_over_comments_and_blank_lines() {
        let text = "RUN a \\\n  # a comment\n\n  b \\  \n# another\n c\n\nRUN d \\\\\n";
        assert_eq!(logical(text), ["RUN a   b  c", r"RUN d \\"]);
        assert_eq!(logical("\\\n\\\n"), Vec::<String>::new());
        assert_eq!(logical("\u{feff}RUN a\r\nRUN b \\\r\n c"), ["RUN a", "RUN b  c"]);
    }

    #[test]
    fn the_escape_character_is_the_directives() {
        assert_eq!(logical("# escape=`\nRUN a `\n b\\\nRUN c"), ["RUN a  b\\", "RUN c"]);
        // A comment before it makes it one, too.
        assert_eq!(logical("# x\n# escape=`\nRUN a `"), ["RUN a `"]);
        assert!(Lines::new("# escape=x").directives().is_err());
        assert!(Lines::new("#escape=`\n# Escape = `").directives().is_err());
    }
}
