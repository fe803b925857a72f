//! Who may come in, and how that is said.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::Value;

use super::{
    Server, image_of,
    proxy::{Asked, Fate, Proxy},
    server::Demands,
};
use crate::support::{Ended, Silo, ended, host::text};

/// Runs a command with a password on its standard input.
fn login(silo: &Silo, server: &str, password: &str) -> Ended {
    let args = ["login", "-u", "me", "--password-stdin", server];
    silo.with_input(&args, password.as_bytes())
}

/// Docker's file below the test's home.
fn config(silo: &Silo) -> std::path::PathBuf {
    silo.home().join(".docker/config.json")
}

#[test]
fn a_password_lets_in_as_long_as_it_is_kept() {
    let demands = Demands { password: true, ..Demands::default() };
    let Some(server) = Server::demanding(demands) else { return };
    let (silo, name) = (Silo::new(), server.name("app"));
    image_of("app", &[1000]).load(&silo);
    let said = silo.fails(1, &["push", "app", &name]);
    assert!(said.contains("denies access to app") && said.contains("silo login"), "{said}");

    let wrong = login(&silo, server.address(), "wrong");
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(!config(&silo).exists());
    let right = login(&silo, server.address(), "secret\n");
    assert_eq!((right.code, right.stdout.as_str()), (0, "Login Succeeded\n"), "{right:?}");
    assert_eq!(fs::metadata(config(&silo)).unwrap().permissions().mode() & 0o777, 0o600);
    silo.ok(&["push", "-q", "app", &name]);
    silo.ok(&["pull", "-q", &name]);

    silo.ok(&["logout", server.address()]);
    silo.fails(1, &["pull", "-q", &name]);
    assert!(silo.ok(&["logout", server.address()]).contains("Not logged in"));
}

#[test]
fn what_docker_and_podman_keep_is_used() {
    let demands = Demands { password: true, ..Demands::default() };
    let Some(server) = Server::demanding(demands) else { return };
    let silo = Silo::new();
    image_of("app", &[1000]).load(&silo);
    let elsewhere = silo.home().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let mut podman = std::process::Command::new("podman");
    podman.args(["login", "-u", "me", "-p", "secret", "--tls-verify=false", "--authfile"]);
    podman.arg(elsewhere.join("config.json")).arg(server.address());
    crate::support::host::done(&mut podman);
    let mut push = silo.command(&["push", "-q", "app", &server.name("app")]);
    let pushed = ended(&push.env("DOCKER_CONFIG", &elsewhere).output().unwrap());
    assert_eq!(pushed.code, 0, "{pushed:?}");
}

#[test]
fn a_helper_keeps_what_the_file_does_not() {
    let demands = Demands { password: true, ..Demands::default() };
    let Some(server) = Server::demanding(demands) else { return };
    let silo = Silo::new();
    image_of("app", &[1000]).load(&silo);
    let kept = silo.home().join("kept");
    let helper = silo.file(
        "docker-credential-test",
        format!(
            "#!/bin/sh\nkept={}\ncase $1 in\nstore) cat >$kept;;\nerase) rm $kept;;\n\
             get) cat $kept 2>/dev/null || {{ echo credentials not found in native keychain; exit 1; }};;\nesac\n",
            text(&kept)
        ),
    );
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(silo.home().join(".docker")).unwrap();
    fs::write(config(&silo), r#"{"credsStore":"test"}"#).unwrap();
    let run = |args: &[&str]| {
        let path = format!("{}:{}", text(silo.home()), std::env::var("PATH").unwrap());
        ended(&silo.command(args).env("PATH", path).output().unwrap())
    };
    let push = ["push", "-q", "app", &server.name("app")];
    assert_eq!(run(&push).code, 1);
    let login = run(&["login", "-u", "me", "-p", "secret", server.address()]);
    assert_eq!(login.code, 0, "{login:?}");
    let stored: Value = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
    assert_eq!(stored["ServerURL"], server.address());
    assert_eq!(fs::read_to_string(config(&silo)).unwrap(), r#"{"credsStore":"test"}"#);
    assert_eq!(run(&push).code, 0);
    assert_eq!(run(&["logout", server.address()]).code, 0);
    assert!(!kept.exists());
}

/// What a token server answers who may come in, and who may not.
fn token_server(asked: &Asked) -> Fate {
    let answer = |status: &str, header: &str, body: &str| {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{header}");
        Fate::Answer(format!("{head}Content-Length: {length}\r\n\r\n{body}"))
    };
    if asked.path.starts_with("/token?") {
        let known = asked.header("authorization") == Some("Basic bWU6c2VjcmV0");
        let scoped = asked.path.contains("scope=repository:app:pull,push");
        return if known && scoped && asked.path.contains("service=test") {
            answer("200 OK", "", r#"{"token":"let-me-in","expires_in":60}"#)
        } else {
            answer("401 Unauthorized", "", "")
        };
    }
    if asked.header("authorization") == Some("Bearer let-me-in") {
        return Fate::Pass;
    }
    let host = asked.header("host").unwrap();
    let challenge =
        format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"test\"\r\n");
    answer(
        "401 Unauthorized",
        &challenge,
        r#"{"errors":[{"code":"UNAUTHORIZED","message":"who is it?"}]}"#,
    )
}

#[test]
fn a_token_is_had_for_name_and_password_and_used_for_everything() {
    let Some(server) = Server::start() else { return };
    let gate = Proxy::start(server.address(), token_server);
    let silo = Silo::new();
    image_of("app", &[1000]).load(&silo);
    let said = silo.fails(1, &["push", "-q", "app", &gate.name("app")]);
    assert!(said.contains("denies access to app"), "{said}");
    fs::create_dir(silo.home().join(".docker")).unwrap();
    let auths = format!(
        r#"{{"auths":{{"{}":{{"auth":"bWU6c2VjcmV0"}}}}}}"#,
        gate.name("").trim_end_matches('/')
    );
    fs::write(config(&silo), auths).unwrap();
    gate.asked();
    silo.ok(&["push", "-q", "app", &gate.name("app")]);
    let tokens = gate.asked().iter().filter(|asked| asked.path.starts_with("/token")).count();
    assert_eq!(tokens, 1);
}

#[test]
fn certificates_are_trusted_that_are_named_and_others_are_when_it_is_waived() {
    let demands = Demands { tls: true, password: true };
    let Some(server) = Server::demanding(demands) else { return };
    let (silo, name) = (Silo::new(), server.name("app"));
    image_of("app", &[100_000]).load(&silo);
    let run = |args: &[&str]| {
        let mut command = silo.command(args);
        ended(&command.env("SSL_CERT_FILE", server.certificate()).output().unwrap())
    };
    let login = run(&["login", "-u", "me", "-p", "secret", server.address()]);
    assert_eq!(login.code, 0, "{login:?}");
    assert_eq!(run(&["push", "-q", "app", &name]).code, 0);
    assert_eq!(run(&["pull", "-q", &name]).code, 0);
    let said = silo.fails(1, &["pull", "-q", &name]);
    assert!(said.contains("cannot make a TLS connection"), "{said}");
    silo.ok(&["pull", "-q", "--tls-verify=false", &name]);
}
