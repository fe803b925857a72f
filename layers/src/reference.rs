//! References: the names of images, by Docker's rules.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Digest;

const DEFAULT_REGISTRY: &str = "docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";

/// The longest repository name, registry included (distribution/reference,
/// `RepositoryNameTotalLengthMax`).
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// An image's full name: registry, repository, and a tag or digest or both.
///
/// Parsing fills in what Docker fills in: `debian` is `docker.io/library/debian:latest`.
/// [`fmt::Display`] writes the full form, [`Reference::familiar`] the short one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// The text is not an image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid reference `{text}`: {reason}")]
pub struct InvalidReference {
    text: String,
    reason: &'static str,
}

impl Reference {
    /// The registry's host, with its port where one was given.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository's path within its registry: `library/debian`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Registry and path, without tag and digest: `docker.io/library/debian`.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    /// The tag. A reference without a digest always has one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that the image must have.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The repository as people write it: `debian`, `user/app`, `ghcr.io/user/app`.
    #[must_use]
    pub fn familiar_repository(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.repository();
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(name) if !name.contains('/') => name.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The whole reference as people write it, tag and digest included: `debian:latest`.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.familiar_repository() + &self.suffix()
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}"));
        let digest = self.digest.map(|digest| format!("@{digest}"));
        tag.unwrap_or_default() + &digest.unwrap_or_default()
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let digest = digest.parse().map_err(|_| "the digest is not a SHA-256 digest")?;
                (name, Some(digest))
            }
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            // A colon before a slash belongs to the registry's port.
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        if name.is_empty() {
            return Err("the name is empty");
        }
        if is_id(name) {
            return Err("64 hexadecimal digits are an image's id, not a name");
        }
        let (registry, path) = split_registry(name);
        check_registry(&registry)?;
        check_path(&path)?;
        if registry.len() + 1 + path.len() > NAME_MAX {
            return Err("the name is longer than 255 characters");
        }
        tag.map_or(Ok(()), check_tag)?;
        let tag = tag.or(digest.is_none().then_some(DEFAULT_TAG)).map(str::to_owned);
        Ok(Self { registry, path, tag, digest })
    }
}

/// Divides a name by Docker's rule: what stands before the first slash is a registry when it
/// has a dot or colon, is `localhost`, or has an upper-case letter, which no path may have.
fn split_registry(name: &str) -> (String, String) {
    let is_registry = |first: &str| {
        first.contains(['.', ':'])
            || first == "localhost"
            || first.bytes().any(|b| b.is_ascii_uppercase())
    };
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, name),
    };
    let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
    let official = registry == DEFAULT_REGISTRY && !path.contains('/');
    (registry.to_owned(), if official { format!("{OFFICIAL}{path}") } else { path.to_owned() })
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    const REASON: &str = "the registry is not a host name with an optional port";
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (registry, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
        return Err(REASON);
    }
    let ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if let Some(address) = ipv6 {
        let hexadecimal = |b: u8| b.is_ascii_hexdigit() || b == b':';
        return if address.bytes().all(hexadecimal) { Ok(()) } else { Err(REASON) };
    }
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if host.split('.').all(label) { Ok(()) } else { Err(REASON) }
}

/// `path-component ["/" path-component]*` of distribution/reference.
fn check_path(path: &str) -> Result<(), &'static str> {
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("the repository must be lower-case");
    }
    if path.split('/').all(is_path_component) {
        Ok(())
    } else {
        Err("the repository consists of a-z, 0-9 and single separators `.`, `_`, `__`, `-`")
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(&first), Some(&last)) = (component.as_bytes().first(), component.as_bytes().last())
    else {
        return false;
    };
    word(first)
        && word(last)
        && component
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .filter(|separator| !separator.is_empty())
            .all(|separator| {
                matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
            })
}

/// `[\w][\w.-]{0,127}`
fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let valid = tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'));
    if valid {
        Ok(())
    } else {
        Err("the tag is up to 128 letters, digits and `_`, `.`, `-`, and does not begin with `.` \
             or `-`")
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        Self::parse(text).map_err(|reason| InvalidReference { text: text.to_owned(), reason })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.path, self.suffix())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Reference {
    type Error = InvalidReference;

    fn try_from(text: String) -> Result<Self, InvalidReference> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap().to_string()
    }

    #[test]
    fn short_names_are_completed_as_docker_does() {
        for (text, expected) in [
            ("debian", "docker.io/library/debian:latest"),
            ("debian:12", "docker.io/library/debian:12"),
            ("user/app", "docker.io/user/app:latest"),
            ("docker.io/debian", "docker.io/library/debian:latest"),
            ("index.docker.io/debian", "docker.io/library/debian:latest"),
            ("localhost/app:1", "localhost/app:1"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("ghcr.io/a/b-c__d.e:V1.0_x", "ghcr.io/a/b-c__d.e:V1.0_x"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            ("REGISTRY/app", "REGISTRY/app:latest"),
        ] {
            assert_eq!(full(text), expected, "{text}");
        }
    }

    #[test]
    fn a_digest_takes_the_place_of_the_default_tag() {
        let reference: Reference = format!("debian@{DIGEST}").parse().unwrap();
        assert_eq!(reference.tag(), None);
        assert_eq!(reference.digest().unwrap().to_string(), DIGEST);
        assert_eq!(reference.to_string(), format!("docker.io/library/debian@{DIGEST}"));
        assert_eq!(
            full(&format!("debian:12@{DIGEST}")),
            format!("docker.io/library/debian:12@{DIGEST}")
        );
    }

    #[test]
    fn the_familiar_form_leaves_out_what_docker_fills_in() {
        for text in ["debian:12", "user/app:latest", "ghcr.io/a/b:1", "localhost/app:x"] {
            assert_eq!(text.parse::<Reference>().unwrap().familiar(), text);
        }
        let nested: Reference = "docker.io/library/a/b:1".parse().unwrap();
        assert_eq!(nested.familiar(), "library/a/b:1");
    }

    #[test]
    fn names_that_docker_refuses_are_refused() {
        for text in [
            "",
            ":tag",
            "Debian",
            "a//b",
            "/a",
            "a/",
            "a___b",
            "-a",
            "a-",
            "a..b",
            "a:",
            "a:-x",
            "a: b",
            "a@sha256:12",
            "a@",
            "ex_ample.com/a",
            "host:port/a",
            "a b",
            "ä",
            "a:ä",
            &"a".repeat(64),
            &format!("a:{}", "t".repeat(129)),
            &"ab/".repeat(90),
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_full_form_parses_to_itself() {
        for text in ["debian", "a.b:80/c:d", &format!("x/y:z@{DIGEST}")] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
            assert_eq!(reference.familiar().parse::<Reference>().unwrap(), reference);
        }
    }
}
