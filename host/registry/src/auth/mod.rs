//! Saying who one is: with a name and a password, or with a token that a server of its own gives for
//! them (distribution, "Token Authentication Specification").

pub(crate) mod challenge;
pub(crate) mod config;
mod helper;
mod token;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use self::challenge::Challenge;
pub(crate) use self::config::Config;
use crate::{Result, http::Http};
use base64::{Engine as _, prelude::BASE64_STANDARD};

/// Who the user is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    Basic {
        user: String,
        secret: String,
    },
    /// A token that is exchanged for others.
    Identity(String),
    /// A token that the registry takes as it is.
    Bearer(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic",
            Self::Identity(_) => "Identity",
            Self::Bearer(_) => "Bearer",
        })
    }
}

impl Credentials {
    /// The value of the header that says so.
    fn authorization(&self) -> String {
        match self {
            Self::Basic { user, secret } => {
                format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{secret}")))
            }
            Self::Identity(token) | Self::Bearer(token) => format!("Bearer {token}"),
        }
    }
}

/// Where credentials come from. A helper is asked once, when the registry wants to know.
enum Source {
    Config(Option<std::path::PathBuf>),
    Known(Option<Credentials>),
}

/// What one registry is told.
pub(crate) struct Auth {
    registry: String,
    state: Mutex<State>,
}

struct State {
    source: Source,
    /// By scope; that of names and passwords is the empty one.
    headers: BTreeMap<String, String>,
}

impl Auth {
    pub(crate) fn new(registry: &str, config: Option<std::path::PathBuf>) -> Self {
        Self::of(registry, Source::Config(config))
    }

    pub(crate) fn with(registry: &str, credentials: Credentials) -> Self {
        Self::of(registry, Source::Known(Some(credentials)))
    }

    fn of(registry: &str, source: Source) -> Self {
        let state = State { source, headers: BTreeMap::new() };
        Self { registry: registry.to_owned(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The header to begin with, as it did for this scope before.
    pub(crate) fn authorization(&self, scope: &str) -> Option<String> {
        let state = self.state();
        state.headers.get(scope).or_else(|| state.headers.get("")).cloned()
    }

    /// Whether there are credentials for the registry.
    pub(crate) fn is_known(&self) -> bool {
        matches!(&self.state().source, Source::Known(Some(_)))
    }

    /// Answers one of the challenges: the header for another attempt, or `None` if there is nothing
    /// to answer with, or `refused` was it already.
    pub(crate) fn answer(
        &self,
        http: &Http,
        challenges: &[Challenge],
        scope: &str,
        refused: Option<&str>,
    ) -> Result<Option<String>> {
        let mut state = self.state();
        // Another thread may have answered meanwhile.
        let now = state.headers.get(scope).or_else(|| state.headers.get("")).cloned();
        if now.is_some() && now.as_deref() != refused {
            return Ok(now);
        }
        let credentials = state.credentials(&self.registry)?;
        let bearer = challenges.iter().find(|challenge| challenge.scheme == "bearer");
        let basic = challenges.iter().any(|challenge| challenge.scheme == "basic");
        let (key, header) = match (&credentials, bearer) {
            (Some(known @ Credentials::Bearer(_)), _) => ("", known.authorization()),
            (_, Some(bearer)) => {
                let asked = token::Asked { challenge: bearer, scope, registry: &self.registry };
                match asked.fetch(http, credentials.as_ref())? {
                    Some(token) => (scope, format!("Bearer {token}")),
                    None => return Ok(None),
                }
            }
            (Some(known @ Credentials::Basic { .. }), None) if basic => ("", known.authorization()),
            _ => return Ok(None),
        };
        if refused == Some(&header) {
            return Ok(None);
        }
        state.headers.insert(key.to_owned(), header.clone());
        Ok(Some(header))
    }
}

impl State {
    fn credentials(&mut self, registry: &str) -> Result<Option<Credentials>> {
        if let Source::Config(path) = &self.source {
            let found = match path {
                Some(path) => Config::open(path)?.credentials(registry)?,
                None => None,
            };
            self.source = Source::Known(found);
        }
        Ok(match &self.source {
            Source::Known(known) => known.clone(),
            Source::Config(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let basic = Credentials::Basic { user: "me".to_owned(), secret: "secret".to_owned() };
        let shown = format!("{basic:?} {:?}", Credentials::Identity("secret".to_owned()));
        assert_eq!(shown, "Basic Identity");
        assert_eq!(basic.authorization(), "Basic bWU6c2VjcmV0");
    }
}
