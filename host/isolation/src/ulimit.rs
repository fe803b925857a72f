//! Limits of each process: setrlimit(2).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a process may use up of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Of what.
    pub resource: Resource,
    /// What holds, in the resource's unit (setrlimit(2)); `None` is no limit.
    pub soft: Option<u64>,
    /// What the process may raise it to.
    pub hard: Option<u64>,
}

/// A resource of setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they are those of setrlimit(2)")]
pub enum Resource {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

/// All resources by name.
const NAMES: [(&str, Resource); 16] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

impl Resource {
    /// Its name as `--ulimit` takes it: `nofile`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, one)| *one == self).map_or("", |(name, _)| name)
    }
}

/// Why text is no [`Ulimit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUlimit(String);

impl fmt::Display for InvalidUlimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidUlimit {}

impl FromStr for Ulimit {
    type Err = InvalidUlimit;

    /// Reads `NAME=SOFT[:HARD]`; -1 and `unlimited` are no limit.
    fn from_str(text: &str) -> Result<Self, InvalidUlimit> {
        let invalid = |why: String| InvalidUlimit(why);
        let (name, value) =
            text.split_once('=').ok_or_else(|| invalid("expected NAME=SOFT[:HARD]".to_owned()))?;
        let resource = NAMES.iter().find(|(known, _)| *known == name).map(|(_, one)| *one);
        let resource = resource.ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            invalid(format!("`{name}` is none of {}", names.join(", ")))
        })?;
        let number = |text: &str| match text {
            "-1" | "unlimited" => Ok(None),
            _ => text.parse().map(Some).map_err(|_| invalid(format!("`{text}` is no number"))),
        };
        let (soft, hard) = value.split_once(':').unwrap_or((value, value));
        let (soft, hard) = (number(soft)?, number(hard)?);
        if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
            return Err(invalid("the soft limit is above the hard one".to_owned()));
        }
        Ok(Self { resource, soft, hard })
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |limit: Option<u64>| limit.map_or("-1".to_owned(), |limit| limit.to_string());
        write!(f, "{}={}:{}", self.resource.name(), number(self.soft), number(self.hard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_has_one_name() {
        for (name, resource) in NAMES {
            assert_eq!(resource.name(), name);
            assert_eq!(serde_json::to_value(resource).unwrap(), name);
        }
    }

    #[test]
    fn limits_are_read_as_docker_reads_them() {
        let read = |text: &str| text.parse::<Ulimit>().map(|limit| limit.to_string());
        for (text, limit) in [
            ("nofile=5:9", "nofile=5:9"),
            ("core=0", "core=0:0"),
            ("memlock=-1", "memlock=-1:-1"),
            ("stack=7:unlimited", "stack=7:-1"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(limit), "{text}");
        }
        for text in ["", "nofile", "nofile=", "nofile=x", "files=1", "nofile=9:5", "nofile=-1:5"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
