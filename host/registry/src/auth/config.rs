//! Docker's `config.json`: who the user is at which registry.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::{Credentials, helper};
use crate::{Error, Result, error::shown};

/// Docker Hub's key, from before there were versions of the protocol.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The file, which need not exist. Members that mean nothing here are kept.
pub(crate) struct Config {
    path: PathBuf,
    content: Map<String, Value>,
}

impl Config {
    /// Reads the file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let content = match fs::read(path) {
            Ok(content) => parse(path, &content)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        Ok(Self { path: path.to_owned(), content })
    }

    /// Who the user is at a registry, if that is known.
    pub(crate) fn credentials(&self, registry: &str) -> Result<Option<Credentials>> {
        let key = key_of(registry);
        if let Some(program) = self.helper(registry) {
            return helper::get(&program, &key);
        }
        let known = self.content.get("auths").and_then(Value::as_object);
        let entry = known.into_iter().flatten().find(|(name, _)| is_for(name, registry));
        let Some((_, entry)) = entry else { return Ok(None) };
        of_entry(entry).map_err(|reason| {
            let what = format!("auths of {}: {reason}", shown(registry));
            Error::Malformed {
                path: self.path.clone(),
                source: <serde_json::Error as serde::de::Error>::custom(what),
            }
        })
    }

    /// Remembers who the user is. Says where: the helper, or this file.
    pub(crate) fn keep(&mut self, registry: &str, user: &str, secret: &str) -> Result<String> {
        let key = key_of(registry);
        if let Some(program) = self.helper(registry) {
            helper::store(&program, &key, user, secret)?;
            return Ok(program);
        }
        let auth = BASE64_STANDARD.encode(format!("{user}:{secret}"));
        let auths = self.content.entry("auths").or_insert_with(|| json!({}));
        auths[key] = json!({ "auth": auth });
        self.write()?;
        Ok(self.path.display().to_string())
    }

    /// Forgets who the user is. `false` if nothing was known.
    pub(crate) fn forget(&mut self, registry: &str) -> Result<bool> {
        if let Some(program) = self.helper(registry) {
            let known = helper::get(&program, &key_of(registry))?.is_some();
            if known {
                helper::erase(&program, &key_of(registry))?;
            }
            return Ok(known);
        }
        let Some(auths) = self.content.get_mut("auths").and_then(Value::as_object_mut) else {
            return Ok(false);
        };
        let before = auths.len();
        auths.retain(|name, _| !is_for(name, registry));
        if auths.len() == before {
            return Ok(false);
        }
        self.write().map(|()| true)
    }

    /// The program that keeps the credentials of a registry.
    fn helper(&self, registry: &str) -> Option<String> {
        let own = self.content.get("credHelpers").and_then(Value::as_object);
        let own = own.into_iter().flatten().find(|(name, _)| is_for(name, registry));
        let name = own.map_or_else(|| self.content.get("credsStore"), |(_, name)| Some(name));
        let name = name.and_then(Value::as_str).filter(|name| !name.is_empty())?;
        Some(format!("docker-credential-{name}"))
    }

    /// Replaces the file; nobody else may read it.
    fn write(&self) -> Result<()> {
        // A link is kept, and what it leads to replaced.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        let mut content = serde_json::to_vec_pretty(&self.content)
            .map_err(|source| Error::Malformed { path: path.clone(), source })?;
        content.push(b'\n');
        let write = || {
            let mut new = tempfile::NamedTempFile::new_in(directory)?;
            new.write_all(&content)?;
            new.as_file().sync_all()?;
            new.persist(&path)?;
            Ok(())
        };
        write().map_err(Error::io("write", &path))
    }
}

fn parse(path: &Path, content: &[u8]) -> Result<Map<String, Value>> {
    if content.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let malformed = |source| Error::Malformed { path: path.to_owned(), source };
    let mut content: Map<String, Value> = serde_json::from_slice(content).map_err(malformed)?;
    content.retain(|_, value| !value.is_null());
    for name in ["auths", "credHelpers"] {
        if content.get(name).is_some_and(|value| !value.is_object()) {
            return Err(malformed(serde::de::Error::custom(format!("{name} is no object"))));
        }
    }
    Ok(content)
}

/// Reads a file's content, for fuzzing.
#[cfg(feature = "fuzzing")]
pub(crate) fn read(content: &[u8], registry: &str) {
    let path = Path::new("config.json");
    let Ok(mut content) = parse(path, content) else { return };
    // No program is started for what a fuzzer made up.
    content.remove("credHelpers");
    content.remove("credsStore");
    let config = Config { path: path.to_owned(), content };
    let _ = config.credentials(registry);
}

/// The credentials of an entry of `auths`. An empty one is that of a helper that has gone.
fn of_entry(entry: &Value) -> Result<Option<Credentials>, &'static str> {
    let text = |name: &str| {
        entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    if let Some(token) = text("registrytoken") {
        return Ok(Some(Credentials::Bearer(token)));
    }
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credentials::Identity(token)));
    }
    if let (Some(user), Some(secret)) = (text("username"), text("password")) {
        return Ok(Some(Credentials::Basic { user, secret }));
    }
    let Some(auth) = text("auth") else { return Ok(None) };
    let decoded = BASE64_STANDARD.decode(auth).map_err(|_| "auth is not base64")?;
    let decoded = String::from_utf8(decoded).map_err(|_| "auth is not text")?;
    let (user, secret) = decoded.split_once(':').ok_or("auth is not USER:PASSWORD")?;
    let secret = secret.trim_end_matches('\0').to_owned();
    Ok(Some(Credentials::Basic { user: user.to_owned(), secret }))
}

/// What a registry is called in the file.
fn key_of(registry: &str) -> String {
    if is_docker_hub(registry) { DOCKER_HUB.to_owned() } else { registry.to_owned() }
}

/// Whether a key of the file means this registry. Older ones are addresses.
fn is_for(key: &str, registry: &str) -> bool {
    let bare = key.split_once("://").map_or(key, |(_, rest)| rest);
    let host = bare.split('/').next().unwrap_or_default();
    host == registry || is_docker_hub(host) && is_docker_hub(registry)
}

fn is_docker_hub(host: &str) -> bool {
    matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(content: &Value) -> Config {
        let content = parse(Path::new("config.json"), content.to_string().as_bytes()).unwrap();
        Config { path: "config.json".into(), content }
    }

    fn basic(user: &str, secret: &str) -> Credentials {
        Credentials::Basic { user: user.to_owned(), secret: secret.to_owned() }
    }

    #[test]
    fn credentials_are_found_as_docker_finds_them() {
        let config = config(&json!({ "auths": {
            "localhost:5000": { "auth": "bWU6c2U6Y3JldA==" },
            "https://index.docker.io/v1/": { "username": "hub", "password": "x" },
            "https://old.example/v2/": { "identitytoken": "id" },
            "empty.example": {},
        }}));
        let of = |registry| config.credentials(registry).unwrap();
        assert_eq!(of("localhost:5000"), Some(basic("me", "se:cret")));
        assert_eq!(of("docker.io"), Some(basic("hub", "x")));
        assert_eq!(of("old.example"), Some(Credentials::Identity("id".to_owned())));
        assert_eq!(of("empty.example"), None);
        assert_eq!(of("other.example"), None);
    }

    #[test]
    fn a_damaged_entry_is_told_without_its_secret() {
        let config = config(&json!({ "auths": { "a": { "auth": "!secret!" } } }));
        let error = config.credentials("a").unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, "auths of a: auth is not base64");
    }

    #[test]
    fn what_is_kept_is_found_and_forgotten_and_the_rest_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/config.json");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, r#"{ "psFormat": "x", "auths": { "b": {} } }"#).unwrap();
        Config::open(&path).unwrap().keep("a", "me", "secret").unwrap();
        let mut config = Config::open(&path).unwrap();
        assert_eq!(config.credentials("a").unwrap(), Some(basic("me", "secret")));
        assert!(config.forget("a").unwrap());
        assert!(!config.forget("a").unwrap());
        let left: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(left, json!({ "psFormat": "x", "auths": { "b": {} } }));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_the_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        Config::open(&path).unwrap().keep("a", "me", "secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn helpers_come_before_what_is_in_the_file() {
        let config = config(&json!({
            "credsStore": "all", "credHelpers": { "a.example": "own" }, "auths": {},
        }));
        assert_eq!(config.helper("a.example").unwrap(), "docker-credential-own");
        assert_eq!(config.helper("b.example").unwrap(), "docker-credential-all");
    }

    #[test]
    fn files_that_are_none_of_dockers_are_refused() {
        for content in ["[]", "{", r#"{ "auths": [] }"#] {
            assert!(parse(Path::new("x"), content.as_bytes()).is_err(), "{content}");
        }
        assert!(parse(Path::new("x"), b" \n").unwrap().is_empty());
    }
}
