//! Flags of instructions: `--name=value` before what the instruction says.

use super::{Fault, text::Text};

/// Flags that were given, until they are taken.
pub(super) struct Flags(Vec<(Text, Option<Text>)>);

/// Splits the flags off.
pub(super) fn split(text: &Text, escape: char) -> (Flags, Text) {
    let (mut flags, mut rest) = (Vec::new(), text.trimmed());
    while rest.as_str().starts_with("--") {
        let word = rest.shell_words(escape).swap_remove(0);
        let length = word.as_str().len();
        rest = rest.from(length).trimmed();
        if length == "--".len() {
            break;
        }
        flags.push(match word.as_str().find('=') {
            Some(sign) => (word.slice(2..sign), Some(word.from(sign + 1))),
            None => (word.from(2), None),
        });
    }
    (Flags(flags), rest)
}

impl Flags {
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }

    /// The value of a flag.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<Text>, Fault> {
        let Some(position) = self.0.iter().position(|(flag, _)| flag.as_str() == name) else {
            return Ok(None);
        };
        let (flag, value) = self.0.remove(position);
        if let Some((again, _)) = self.0.iter().find(|(flag, _)| flag.as_str() == name) {
            return Err(Fault::new(again.start(), format!("--{name} is given twice")));
        }
        match value {
            Some(value) if !value.as_str().is_empty() => Ok(Some(value)),
            _ => Err(Fault::new(flag.start(), format!("--{name} has no value"))
                .hinted(format!("write --{name}=VALUE"))),
        }
    }

    /// Refuses what was not taken.
    pub(super) fn finish(self, keyword: &Text) -> Result<(), Fault> {
        let Some((flag, _)) = self.0.first() else { return Ok(()) };
        let message = format!("{keyword} --{flag} is not supported");
        Err(Fault::new(flag.start(), message).hinted(needs(keyword.as_str(), flag.as_str())))
    }
}

/// What a flag of Docker's would need.
fn needs(word: &str, flag: &str) -> String {
    let what = match (word, flag) {
        ("RUN", "mount") => "it needs mounts during builds: caches, secrets, agents",
        ("RUN", "network") => {
            "it needs a network for each step; `silo build --network` sets that of all"
        }
        ("RUN", "security") => {
            "it needs steps with more rights than others, which silo does not give"
        }
        ("RUN", "device") => "it needs devices of the host during builds",
        ("COPY" | "ADD", "link") => {
            "it needs layers that don't know what is below them; leave it out, the files are the same"
        }
        ("COPY", "parents") => "it needs paths that are kept; copy directory by directory",
        ("COPY" | "ADD", "exclude") => {
            "it needs patterns for each instruction; list them in .dockerignore"
        }
        ("ADD", "checksum" | "keep-git-dir" | "unpack") => {
            "it needs sources that are fetched from the network"
        }
        _ => return flags_of(word),
    };
    what.to_owned()
}

fn flags_of(word: &str) -> String {
    let flags = match word {
        "FROM" => "--platform",
        "COPY" => "--from, --chown and --chmod",
        "ADD" => "--chown and --chmod",
        "HEALTHCHECK" => "--interval, --timeout, --start-period, --start-interval and --retries",
        _ => return format!("{word} has no flags"),
    };
    format!("it has {flags}")
}
