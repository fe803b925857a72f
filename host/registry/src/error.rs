//! What can go wrong with registries.

use std::{
    io,
    path::{Path, PathBuf},
};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An image could not be pulled or pushed, or a registry not be logged in to.
///
/// A message says what failed and never repeats its source's text, nor any secret;
/// [`Error::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image or the store.
    #[error(transparent)]
    Image(#[from] silo_layers::Error),
    /// No address is known for the host.
    #[error("cannot find the host of `{url}`")]
    UnknownHost {
        /// What was to be reached.
        url: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nobody listens, or there is no way to the host.
    #[error("cannot connect to `{url}`")]
    Connect {
        /// What was to be reached.
        url: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The other side is not who it should be, or speaks no TLS.
    #[error("cannot make a TLS connection to `{url}`")]
    Tls {
        /// What was to be reached.
        url: String,
        /// Why it failed.
        source: rustls::Error,
    },
    /// The connection broke, and trying again did not help.
    #[error("cannot {verb} `{url}`")]
    Transport {
        /// The method: `GET`, `PUT`.
        verb: &'static str,
        /// What was asked for.
        url: String,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry answered with a failure.
    #[error("cannot {verb} `{url}`: the registry answered {status}{}", told(said))]
    Status {
        /// The method: `GET`, `PUT`.
        verb: &'static str,
        /// What was asked for.
        url: String,
        /// The answer's status.
        status: u16,
        /// What the registry says of it, if anything.
        said: String,
    },
    /// The registry wants to know who asks, or refuses whoever does.
    #[error("registry {registry} denies access to {what}{}", told(said))]
    Denied {
        /// The registry.
        registry: String,
        /// The repository, or the registry itself.
        what: String,
        /// Whether credentials were given.
        known: bool,
        /// What the registry says of it, if anything.
        said: String,
    },
    /// The repository is not there, or none for who asks.
    #[error("registry {registry} has no repository {repository}")]
    NoSuchRepository {
        /// The registry.
        registry: String,
        /// The repository's path.
        repository: String,
    },
    /// The repository is there, and the image is not.
    #[error("registry {registry} has no image {image}; {}", listed(tags))]
    NoSuchImage {
        /// The registry.
        registry: String,
        /// The image as it was asked for, without its registry.
        image: String,
        /// The tags that the repository has.
        tags: Vec<String>,
    },
    /// An answer that no registry gives.
    #[error("`{url}` does not answer as a registry: {reason}")]
    NotARegistry {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// An index cannot be pushed without the images that it holds.
    #[error("image {name} is here without {}", missing.join(", "))]
    Partial {
        /// The image, as it was named.
        name: String,
        /// The platforms, or digests, of the images that are not here.
        missing: Vec<String>,
    },
    /// The operating system refused an operation on a file of settings or certificates.
    #[error("cannot {verb} `{}`", path.display())]
    Io {
        /// What was attempted: `read`, `write`.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file of credentials is not as Docker writes it.
    #[error("`{}` is malformed", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A file holds no certificates.
    #[error("`{}` holds no certificates", path.display())]
    NoCertificates {
        /// The file.
        path: PathBuf,
    },
    /// What Docker's configuration names as a keeper of credentials does not do its work.
    #[error("the credential helper `{program}` failed to {verb}{}", told(said))]
    Helper {
        /// The program.
        program: String,
        /// What it was asked for: `get`, `store`, `erase`.
        verb: &'static str,
        /// What it says.
        said: String,
    },
    /// The text is not the address of a proxy.
    #[error("the proxy's address is not one of the form http://HOST:PORT")]
    Proxy,
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// An [`Error::Io`] for `map_err`.
    pub(crate) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { verb, path: path.to_owned(), source }
    }

    /// Whether another attempt may succeed.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Status { status, .. } => matches!(status, 429 | 500..=599),
            _ => false,
        }
    }

    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Image(error) => error.hint()?,
            Self::UnknownHost { .. } => {
                "is the name right, and is there a network? the part of an image's name before the \
                 first slash is its registry"
            }
            Self::Connect { .. } => "is the registry running, and is its port right?",
            Self::Tls { .. } => {
                "SSL_CERT_FILE names a file of certificates to trust; --tls-verify=false trusts any, \
                 and does without TLS"
            }
            Self::Denied { registry, known, .. } => {
                return Some(if *known {
                    format!(
                        "these credentials do not permit it; `silo login {registry}` takes others"
                    )
                } else {
                    format!(
                        "`silo login {registry}` keeps credentials; a repository that does not exist \
                         may be denied, too"
                    )
                });
            }
            Self::NoSuchRepository { .. } => {
                "check the name; a private repository is shown to those who have logged in"
            }
            Self::NoSuchImage { tags, .. } if !tags.is_empty() => "name one of the tags",
            Self::Partial { .. } => {
                "`silo pull --all-platforms` fetches them; `silo push --platform` pushes one image alone"
            }
            Self::Transport { .. } => "try again: it was tried several times, and may pass",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// What another side says of a failure, as a part of a sentence.
fn told(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// The tags of a repository; what is many is cut.
fn listed(tags: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown = tags.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match tags.len() {
        0 => "no tags are to be had".to_owned(),
        1 => format!("it has the tag {shown}"),
        2..=SHOWN => format!("it has the tags {shown}"),
        more => format!("it has the tags {shown} and {} more", more - SHOWN),
    }
}

/// Foreign text for a message: one line, without what a terminal acts on, and not long.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain: String = line.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect();
    if plain.len() < line.len() { plain + "…" } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_listed_as_far_as_one_reads() {
        let tags = |count: usize| (0..count).map(|n| format!("v{n}")).collect::<Vec<_>>();
        assert_eq!(listed(&[]), "no tags are to be had");
        assert_eq!(listed(&tags(1)), "it has the tag v0");
        assert_eq!(listed(&tags(2)), "it has the tags v0, v1");
        assert!(listed(&tags(25)).ends_with("v19 and 5 more"));
    }

    #[test]
    fn foreign_text_is_one_short_line() {
        assert_eq!(shown("a\r\nb\u{1b}[2J"), "a b[2J…");
        assert!(shown(&"x".repeat(1000)).len() < 210);
    }
}
