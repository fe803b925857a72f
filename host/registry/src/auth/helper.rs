//! Programs that keep credentials: `docker-credential-NAME` (docker/docker-credential-helpers).

use std::{
    io::{self, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use super::Credentials;
use crate::{Error, Result, error::shown};

/// What a helper says that knows nothing of a registry.
const UNKNOWN: &str = "credentials not found in native keychain";
/// The user's name with a token that is to be exchanged for others.
const IDENTITY: &str = "<token>";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Kept {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    username: String,
    secret: String,
}

/// The credentials for a registry.
pub(super) fn get(program: &str, registry: &str) -> Result<Option<Credentials>> {
    let answer = match ask(program, "get", registry.as_bytes()) {
        Err(Error::Helper { said, .. }) if said.contains(UNKNOWN) => return Ok(None),
        answer => answer?,
    };
    let kept: Kept = serde_json::from_slice(&answer).map_err(|_| {
        // What the parser says could repeat the secret.
        failed(program, "get", "its answer is not JSON with Username and Secret")
    })?;
    Ok(Some(match kept.username.as_str() {
        IDENTITY => Credentials::Identity(kept.secret),
        _ => Credentials::Basic { user: kept.username, secret: kept.secret },
    }))
}

/// Has it keep credentials.
pub(super) fn store(program: &str, registry: &str, user: &str, secret: &str) -> Result<()> {
    let kept = Kept {
        server_url: registry.to_owned(),
        username: user.to_owned(),
        secret: secret.to_owned(),
    };
    let input = serde_json::to_vec(&kept)
        .map_err(|_| failed(program, "store", "the credentials are not text"))?;
    ask(program, "store", &input).map(drop)
}

/// Has it forget.
pub(super) fn erase(program: &str, registry: &str) -> Result<()> {
    ask(program, "erase", registry.as_bytes()).map(drop)
}

fn ask(program: &str, verb: &'static str, input: &[u8]) -> Result<Vec<u8>> {
    // It is looked for on the path, and nowhere else.
    if Path::new(program).components().count() != 1 {
        return Err(failed(program, verb, "its name is a path"));
    }
    let run = || -> io::Result<_> {
        let mut child = Command::new(program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input) {
                // How it ended tells more.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                _ => {}
            }
        }
        child.wait_with_output()
    };
    let output = run().map_err(|error| failed(program, verb, &error.to_string()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(failed(program, verb, &String::from_utf8_lossy(&output.stdout)))
}

fn failed(program: &str, verb: &'static str, said: &str) -> Error {
    Error::Helper { program: program.to_owned(), verb, said: shown(said) }
}
