//! What is built: the Dockerfile, the context, and what of that is none.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use silo_builder::{Input, parse::Source};

use crate::failure::{Failure, Result};

/// The longest Dockerfile, in bytes.
const LONGEST: u64 = 4 << 20;

/// Reads what is to be read before a build.
pub(super) fn read(directory: &Path, file: Option<&Path>) -> Result<Input> {
    let dash = Path::new("-");
    let context = (directory != dash).then(|| directory.to_owned());
    if let Some(context) = &context {
        check(context)?;
    } else if file.is_some() {
        return Err(Failure::new("the Dockerfile is to come from stdin and from -f")
            .with_hint("leave out -f, or name a directory"));
    }
    let path = match (file, &context) {
        (Some(file), _) if file == dash => None,
        (Some(file), _) => Some(file.to_owned()),
        (None, Some(context)) => Some(context.join("Dockerfile")),
        (None, None) => None,
    };
    let Some(path) = path else {
        let dockerfile = Source { name: "Dockerfile from stdin".to_owned(), text: stdin()? };
        let ignore =
            context.as_ref().map_or(Ok(None), |context| ignore(&context.join(".dockerignore")));
        return Ok(Input { dockerfile, ignore: ignore?, context });
    };
    let text = text(&path).map_err(|source| {
        let missing = source.kind() == io::ErrorKind::NotFound;
        let failure =
            Failure::caused(format!("cannot read the Dockerfile {}", path.display()), source);
        if missing { failure.with_hint("name it with -f") } else { failure }
    })?;
    let name = shown(&path, context.as_deref());
    let mut own = path.clone().into_os_string();
    own.push(".dockerignore");
    let ignore = match (ignore(Path::new(&own))?, &context) {
        (None, Some(context)) => ignore(&context.join(".dockerignore"))?,
        (own, _) => own,
    };
    Ok(Input { dockerfile: Source { name, text }, ignore, context })
}

/// Tells what a context cannot be.
fn check(context: &Path) -> Result<()> {
    let text = context.to_string_lossy();
    let remote = ["http://", "https://", "git://", "ssh://", "git@", "github.com/"];
    if remote.iter().any(|scheme| text.starts_with(scheme)) && !context.exists() {
        return Err(Failure::new(format!("the context {text} is not on this machine"))
            .with_hint("fetch it first, and name the directory"));
    }
    match context.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Failure::new(format!("the context {text} is not a directory"))
            .with_hint("name a directory; archives are unpacked first")),
        Err(source) => Err(Failure::caused(format!("cannot find the context {text}"), source)
            .with_hint("name the directory that files are copied from, such as `.`")),
    }
}

/// How messages call a Dockerfile.
fn shown(path: &Path, context: Option<&Path>) -> String {
    let inside = context.and_then(|context| path.strip_prefix(context).ok());
    inside.unwrap_or(path).display().to_string()
}

fn ignore(path: &Path) -> Result<Option<Source>> {
    match text(path) {
        Ok(text) => Ok(Some(Source { name: name(path), text })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Failure::caused(format!("cannot read {}", path.display()), source)),
    }
}

fn name(path: &Path) -> String {
    path.file_name().map(PathBuf::from).unwrap_or_default().display().to_string()
}

fn text(path: &Path) -> io::Result<String> {
    string(fs::File::open(path)?)
}

fn string(reader: impl io::Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other(format!("it is longer than {LONGEST} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

fn stdin() -> Result<String> {
    string(io::stdin().lock())
        .map_err(|source| Failure::caused("cannot read the Dockerfile from stdin", source))
}
