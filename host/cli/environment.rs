//! `-e` and `--env-file`.

use std::{env, fs, path::PathBuf};

use crate::failure::{Failure, Result};

/// The variables of all files, then those of `-e`: later ones win. A name alone takes the
/// host's value; where the host has none, `-e` leaves the name alone, which removes the image's
/// variable, and a file's line says nothing, as with Docker.
pub(crate) fn collect(files: &[PathBuf], given: &[String]) -> Result<Vec<String>> {
    let host = |name: &str| env::var(name).ok();
    let mut variables = Vec::new();
    for path in files {
        let text = fs::read_to_string(path).map_err(|source| {
            Failure::caused(format!("cannot read the environment file {}", path.display()), source)
        })?;
        let read = parse(&text, &host).map_err(|wrong| {
            Failure::new(format!("environment file {}: {wrong}", path.display()))
        })?;
        variables.extend(read);
    }
    for text in given {
        if text.is_empty() || text.starts_with('=') {
            return Err(Failure::new(format!("invalid -e `{text}`: the name is missing")));
        }
        variables.push(complete(text, &host).unwrap_or_else(|| text.clone()));
    }
    Ok(variables)
}

/// `NAME=value` as it is, or the host's value for a name alone.
fn complete(text: &str, host: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    if text.contains('=') {
        return Some(text.to_owned());
    }
    host(text).map(|value| format!("{text}={value}"))
}

/// Docker's format: a variable a line; blanks before it, empty lines and those that begin with
/// `#` don't count; nothing is quoted.
fn parse(text: &str, host: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.is_empty() {
            return Err(format!("line {number}: the variable has no name"));
        }
        if name.contains([' ', '\t']) {
            return Err(format!("line {number}: the name `{name}` contains a blank"));
        }
        variables.extend(complete(line, host));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/home/me".to_owned())
    }

    #[test]
    fn a_file_is_read_as_docker_reads_it() {
        let text = "\u{feff}# comment\n\n  A=1\nB=\nC=x = 'y' # z\r\nHOME\nUNSET\n";
        let read = parse(text, &host).unwrap();
        assert_eq!(read, ["A=1", "B=", "C=x = 'y' # z", "HOME=/home/me"]);
    }

    #[test]
    fn a_wrong_line_is_told_by_its_number() {
        assert_eq!(parse("A=1\n=x\n", &host).unwrap_err(), "line 2: the variable has no name");
        assert_eq!(
            parse("export A=1", &host).unwrap_err(),
            "line 1: the name `export A` contains a blank"
        );
    }

    #[test]
    fn a_name_that_the_host_does_not_know_is_left_alone() {
        let name = "SILO_TEST_SURELY_UNSET".to_owned();
        assert_eq!(collect(&[], std::slice::from_ref(&name)).unwrap(), [name]);
        assert!(collect(&[], &["=x".to_owned()]).is_err());
    }
}
