//! What each instruction says.

use super::{
    Fault, flags,
    instruction::{
        Argument, Command, Copy, From, Healthcheck, Heredoc, Instruction, Pair, Run, Statement,
        Words,
    },
    lines::Lines,
    text::Text,
};

/// All instructions there are.
const KEYWORDS: &str = "ADD, ARG, CMD, COPY, ENTRYPOINT, ENV, EXPOSE, FROM, HEALTHCHECK, LABEL, \
                        ONBUILD, RUN, SHELL, STOPSIGNAL, USER, VOLUME and WORKDIR";

/// Reads instructions; files that follow them it takes from the lines.
pub(super) struct Reader<'a, 'b> {
    pub(super) escape: char,
    pub(super) lines: &'a mut Lines<'b>,
}

impl Reader<'_, '_> {
    pub(super) fn statement(&mut self, line: &Text) -> Result<Statement, Fault> {
        let (keyword, rest) = line.first_word();
        let written = keyword;
        let word = written.as_str().to_ascii_uppercase();
        let keyword = Text::new(word.as_str(), written.start());
        let (mut flags, rest) = if takes_flags(&keyword) {
            flags::split(&rest, self.escape)
        } else {
            (flags::Flags::none(), rest)
        };
        if rest.as_str().is_empty() && KEYWORDS.split([',', ' ']).any(|known| known == word) {
            flags.finish(&keyword)?;
            return Err(Fault::new(keyword.start(), format!("{word} says nothing")));
        }
        let instruction = match word.as_str() {
            "FROM" => from(flags.take("platform")?, &rest)?,
            "RUN" => self.run(&rest)?,
            "COPY" => Instruction::Copy(self.copy(flags.take("from")?, &mut flags, &rest)?),
            "ADD" => Instruction::Add(self.copy(None, &mut flags, &rest)?),
            "ENV" => Instruction::Env(self.pairs(&rest)?),
            "LABEL" => Instruction::Label(self.pairs(&rest)?),
            "ARG" => self.arguments(&rest)?,
            "WORKDIR" => Instruction::Workdir(rest),
            "USER" => Instruction::User(rest),
            "EXPOSE" => Instruction::Expose(rest),
            "VOLUME" => Instruction::Volume(words(&rest)),
            "CMD" => Instruction::Cmd(command(&rest)),
            "ENTRYPOINT" => Instruction::Entrypoint(command(&rest)),
            "SHELL" => shell(&rest)?,
            "STOPSIGNAL" => Instruction::Stopsignal(rest),
            "HEALTHCHECK" => healthcheck(&mut flags, &rest)?,
            "ONBUILD" => self.onbuild(&rest)?,
            _ => return Err(unknown(&written, &word)),
        };
        flags.finish(&keyword)?;
        Ok(Statement { keyword, instruction })
    }

    fn run(&mut self, rest: &Text) -> Result<Instruction, Fault> {
        let command = command(rest);
        let heredocs = match &command {
            Command::Shell(line) => self.heredocs(&line.shell_words(self.escape))?,
            Command::Exec(_) => Vec::new(),
        };
        Ok(Instruction::Run(Run { command, heredocs }))
    }

    fn copy(
        &mut self,
        from: Option<Text>,
        flags: &mut flags::Flags,
        rest: &Text,
    ) -> Result<Copy, Fault> {
        let (chown, chmod) = (flags.take("chown")?, flags.take("chmod")?);
        let paths = words(rest);
        if paths.as_slice().len() < 2 {
            return Err(Fault::new(rest.start(), "there is no destination")
                .hinted("name at least one source, and the destination last"));
        }
        let heredocs = match &paths {
            Words::Plain(words) => self.heredocs(words)?,
            Words::Json(_) => Vec::new(),
        };
        if let (Some(from), false) = (&from, heredocs.is_empty()) {
            let message = "files in the Dockerfile come from no stage";
            return Err(Fault::new(from.start(), message));
        }
        Ok(Copy { from, chown, chmod, paths, heredocs })
    }

    /// The files whose marks are among these words.
    fn heredocs(&mut self, words: &[Text]) -> Result<Vec<Heredoc>, Fault> {
        let marks = words.iter().filter_map(|word| Some((word, mark(word.as_str(), self.escape)?)));
        let marks: Vec<_> = marks.collect();
        let mut found = Vec::with_capacity(marks.len());
        for (word, Mark { name, strips, expands }) in marks {
            let Some(body) = self.lines.heredoc(&name, strips) else {
                let message = format!("no line is `{name}` alone, where this file would end");
                return Err(Fault::new(word.start(), message));
            };
            found.push(Heredoc { mark: word.to_string(), name, body, expands });
        }
        Ok(found)
    }

    fn pairs(&self, rest: &Text) -> Result<Vec<Pair>, Fault> {
        let words = rest.shell_words(self.escape);
        if !words[0].as_str().contains('=') {
            let (name, value) = rest.first_word();
            if name.as_str().contains(['"', '\'', self.escape]) {
                return Err(Fault::new(name.start(), format!("`{name}` cannot be a name")));
            }
            if value.as_str().is_empty() {
                return Err(Fault::new(name.start(), format!("`{name}` has no value"))
                    .hinted("write NAME=VALUE"));
            }
            // It has no quotes but such that belong to it, and its white space is its own.
            let value = Text::new(self.quoted(value.as_str()), value.start());
            return Ok(vec![Pair { name, value }]);
        }
        let pair = |word: Text| match word.as_str().find('=') {
            Some(sign @ 1..) => Ok(Pair { name: word.slice(0..sign), value: word.from(sign + 1) }),
            _ => Err(Fault::new(word.start(), format!("`{word}` is not NAME=VALUE"))
                .hinted("quote values with white space in them")),
        };
        words.into_iter().map(pair).collect()
    }

    /// The value of the older form, for which white space means nothing.
    fn quoted(&self, value: &str) -> String {
        let mut quoted = String::with_capacity(value.len());
        let (mut quote, mut escaped) = (None, false);
        for character in value.chars() {
            if escaped {
                escaped = false;
            } else {
                match quote {
                    None if character.is_whitespace() => quoted.push(self.escape),
                    None if matches!(character, '"' | '\'') => quote = Some(character),
                    Some(open) if open == character => quote = None,
                    _ => {}
                }
                escaped = character == self.escape && quote != Some('\'');
            }
            quoted.push(character);
        }
        quoted
    }

    fn arguments(&self, rest: &Text) -> Result<Instruction, Fault> {
        let argument = |word: Text| {
            let (name, default) = match word.as_str().find('=') {
                Some(sign) => (word.slice(0..sign), Some(word.from(sign + 1))),
                None => (word, None),
            };
            if !is_name(name.as_str()) {
                let message = format!("`{name}` cannot be the name of an argument");
                return Err(
                    Fault::new(name.start(), message).hinted("names are letters, digits and _")
                );
            }
            Ok(Argument { name, default })
        };
        let words = rest.shell_words(self.escape).into_iter();
        words.map(argument).collect::<Result<_, _>>().map(Instruction::Arg)
    }

    fn onbuild(&mut self, rest: &Text) -> Result<Instruction, Fault> {
        let (word, _) = rest.first_word();
        let upper = word.as_str().to_ascii_uppercase();
        if matches!(upper.as_str(), "ONBUILD" | "FROM") {
            return Err(Fault::new(word.start(), format!("ONBUILD {upper} is not possible")));
        }
        let statement = self.statement(rest)?;
        if statement.instruction.heredocs().is_empty() {
            return Ok(Instruction::Onbuild(Box::new(statement)));
        }
        let message = "a file in the Dockerfile cannot be kept for another build";
        Err(Fault::new(word.start(), message))
    }
}

/// Whether flags may follow: elsewhere `--` begins what is said.
fn takes_flags(keyword: &Text) -> bool {
    matches!(keyword.as_str(), "FROM" | "RUN" | "COPY" | "ADD" | "HEALTHCHECK")
}

fn unknown(keyword: &Text, word: &str) -> Fault {
    let fault = Fault::new(keyword.start(), format!("there is no instruction `{keyword}`"));
    fault.hinted(match word {
        "MAINTAINER" => "write LABEL org.opencontainers.image.authors=\"...\" instead".to_owned(),
        _ => format!("there are {KEYWORDS}"),
    })
}

fn is_name(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn from(platform: Option<Text>, rest: &Text) -> Result<Instruction, Fault> {
    let words = rest.words();
    let (image, name) = match words.as_slice() {
        [image] => (image, None),
        [image, word, name] if word.as_str().eq_ignore_ascii_case("as") => (image, Some(name)),
        [_, odd, ..] => {
            return Err(Fault::new(odd.start(), format!("`{odd}` is not understood here"))
                .hinted("write FROM IMAGE or FROM IMAGE AS NAME"));
        }
        [] => return Err(Fault::new(rest.start(), "FROM says nothing")),
    };
    let name = name.map(stage_name).transpose()?;
    Ok(Instruction::From(From { platform, image: image.clone(), name }))
}

fn stage_name(name: &Text) -> Result<String, Fault> {
    let lower = name.as_str().to_ascii_lowercase();
    let starts = lower.starts_with(|c: char| c.is_ascii_alphabetic());
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if starts && lower.chars().all(valid) && lower != "scratch" {
        return Ok(lower);
    }
    Err(Fault::new(name.start(), format!("`{name}` cannot be the name of a stage"))
        .hinted("names begin with a letter, and hold letters, digits, -, _ and ."))
}

/// A JSON array of strings, else a line for the shell.
fn command(rest: &Text) -> Command {
    match json(rest) {
        Some(words) => Command::Exec(words),
        None => Command::Shell(rest.clone()),
    }
}

fn json(rest: &Text) -> Option<Vec<String>> {
    if !rest.as_str().starts_with('[') {
        return None;
    }
    serde_json::from_str(rest.as_str()).ok()
}

fn words(rest: &Text) -> Words {
    let plain = rest.words();
    // White space that JSON does not know separates as well.
    let spaced = || {
        let words: Vec<_> = plain.iter().map(Text::as_str).collect();
        json(&Text::new(words.join(" "), rest.start()))
    };
    match json(rest).or_else(spaced) {
        Some(words) => {
            Words::Json(words.into_iter().map(|word| Text::new(word, rest.start())).collect())
        }
        None => Words::Plain(plain),
    }
}

fn shell(rest: &Text) -> Result<Instruction, Fault> {
    match json(rest) {
        Some(words) if !words.is_empty() => Ok(Instruction::Shell(words)),
        _ => Err(Fault::new(rest.start(), "SHELL is not a JSON array of strings")
            .hinted(r#"write SHELL ["/bin/bash", "-c"]"#)),
    }
}

fn healthcheck(flags: &mut flags::Flags, rest: &Text) -> Result<Instruction, Fault> {
    let (word, rest) = rest.first_word();
    match word.as_str().to_ascii_uppercase().as_str() {
        "NONE" if rest.as_str().is_empty() => Ok(Instruction::Healthcheck(None)),
        "CMD" if !rest.as_str().is_empty() => {
            let mut times = Vec::new();
            for name in ["interval", "timeout", "start-period", "start-interval"] {
                if let Some(text) = flags.take(name)? {
                    let nanos = duration(&text)?;
                    times.push((name, text, nanos));
                }
            }
            let retries = flags.take("retries")?.map(|text| {
                let wrong =
                    |_| Fault::new(text.start(), format!("`{text}` is no number of retries"));
                text.as_str().parse().map_err(wrong)
            });
            let (retries, command) = (retries.transpose()?, command(&rest));
            Ok(Instruction::Healthcheck(Some(Healthcheck { times, retries, command })))
        }
        _ => Err(Fault::new(word.start(), "neither CMD nor NONE follows")
            .hinted("write HEALTHCHECK [FLAGS] CMD COMMAND, or HEALTHCHECK NONE")),
    }
}

/// A time in Go's form, such as `1m30s`, in nanoseconds. One that is given is a millisecond at least.
fn duration(text: &Text) -> Result<u64, Fault> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3600e9),
    ];
    let wrong = || {
        Fault::new(text.start(), format!("`{text}` is no time of at least 1ms"))
            .hinted("write a number with a unit, such as 30s or 1m30s")
    };
    let (mut rest, mut sum) = (text.as_str(), 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        let after = &rest[digits..];
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let unit = UNITS.iter().find(|(unit, _)| *unit == &after[..end]).ok_or_else(wrong)?;
        sum += number * unit.1;
        rest = &after[end..];
    }
    // Two centuries, which is as much as Go's type holds.
    if !(1e6..9e18).contains(&sum) {
        return Err(wrong());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is within the range that was checked"
    )]
    Ok(sum as u64)
}

/// The mark of a file that follows.
struct Mark {
    name: String,
    strips: bool,
    expands: bool,
}

/// `<<NAME`, `<<-NAME`, with the name quoted or not.
fn mark(word: &str, escape: char) -> Option<Mark> {
    let (_, rest) = word
        .split_once("<<")
        .filter(|(before, _)| before.chars().all(|character| character.is_ascii_digit()))?;
    let (strips, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    let name: String = rest.chars().filter(|&c| !matches!(c, '"' | '\'') && c != escape).collect();
    let is_name = !name.is_empty() && !name.contains(['<', '$']);
    is_name.then_some(Mark { expands: name.len() == rest.len(), name, strips })
}
