//! `silo login`

use std::{
    io::{Read as _, Write as _, stderr, stdin},
    process::ExitCode,
};

use clap::Args;

use crate::{
    context::Context,
    failure::{Failure, Result},
    output,
    registries::{RegistryArgs, until_signalled},
    terminal,
};

/// Log in to a registry, and keep the credentials where Docker keeps them
///
/// They go to the credential helper that Docker's configuration names, or else into that file:
/// config.json in the directory that the variable `DOCKER_CONFIG` names, by default ~/.docker.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The user's name
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// The password. Other users of this machine see it while this runs
    #[arg(short, long, conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    registry: RegistryArgs,
    #[arg(help = "The registry: HOST[:PORT]")]
    #[arg(default_value = "docker.io")]
    server: String,
}

impl Login {
    pub(crate) fn run(self, _: &Context) -> Result<ExitCode> {
        if self.password_stdin && self.username.is_none() {
            return Err(Failure::new("--password-stdin needs --username"));
        }
        let user = match &self.username {
            Some(user) => user.clone(),
            None => ask("Username: ", terminal::Echo::On)?,
        };
        let secret = match &self.password {
            Some(secret) => secret.clone(),
            None if self.password_stdin => read_password()?,
            None => ask("Password: ", terminal::Echo::Off)?,
        };
        if user.is_empty() || secret.is_empty() {
            return Err(Failure::new("a name and a password are needed"));
        }
        let client = self.registry.client();
        let server = host(&self.server);
        let place = until_signalled(&client, || client.login(server, &user, &secret))?;
        output::line("Login Succeeded")?;
        if let Some(place) = place {
            output::note(&format!("the credentials are kept by {place}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The host of what may be an address.
pub(super) fn host(server: &str) -> &str {
    let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
    match bare.split('/').next().unwrap_or_default() {
        "index.docker.io" => "docker.io",
        host => host,
    }
}

fn read_password() -> Result<String> {
    let mut password = String::new();
    stdin()
        .read_to_string(&mut password)
        .map_err(|source| Failure::caused("cannot read the password from stdin", source))?;
    Ok(password.trim_end_matches(['\r', '\n']).to_owned())
}

fn ask(question: &str, echo: terminal::Echo) -> Result<String> {
    if !std::io::IsTerminal::is_terminal(&stdin()) {
        return Err(Failure::new("there is no terminal to ask for name and password on")
            .with_hint("give them by --username and --password-stdin"));
    }
    // Where stderr is gone the question is not seen, which is no reason to fail.
    let _ = write!(stderr().lock(), "{question}");
    terminal::read_line(echo).map_err(|source| Failure::caused("cannot read the answer", source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_its_host() {
        assert_eq!(host("localhost:5000"), "localhost:5000");
        assert_eq!(host("https://registry.example/v2/"), "registry.example");
        assert_eq!(host("https://index.docker.io/v1/"), "docker.io");
    }
}
