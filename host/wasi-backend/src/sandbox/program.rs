//! Finding a guest's program in its files.

use silo_isolation::{DEFAULT_PATH, Error, Process, Result};

use crate::{
    compile::{Key, compose},
    vfs::{ErrorCode, FileKind, Location, OpenOptions, Vfs, Walked},
};

/// The longest program that runs, in bytes.
pub const PROGRAM_MAX: u64 = 1 << 30;

/// A guest's program, found.
pub(super) struct Program {
    name: String,
    at: Location,
    size: u64,
    /// What the cache of compiled code may know it by.
    pub(super) key: Option<Key>,
    /// What it is composed with.
    parts: Vec<Program>,
}

/// Finds the program that `process` starts, and the components that it is composed with.
pub(super) fn find_composed(vfs: &Vfs, process: &Process, parts: &[String]) -> Result<Program> {
    let program = find(vfs, process)?;
    if parts.is_empty() {
        return Ok(program);
    }
    let part =
        |path: &String| find(vfs, &Process { args: vec![path.clone()], ..Process::default() });
    let parts = parts.iter().map(part).collect::<Result<Vec<_>>>()?;
    let keys: Option<Vec<&Key>> =
        [&program].into_iter().chain(&parts).map(|part| part.key.as_ref()).collect();
    let key = keys.map(Key::all);
    Ok(Program { key, parts, ..program })
}

/// Where the program `name` of an environment and a working directory may be: at its path, or by its
/// name in `PATH`, the working directory and the root, where images for WebAssembly put it.
#[must_use]
pub fn candidates(name: &str, env: &[String], cwd: &str) -> Vec<String> {
    if name.starts_with('/') {
        return vec![name.to_owned()];
    }
    if name.contains('/') {
        return vec![format!("{cwd}/{name}")];
    }
    let directories = search_path(env).split(':').filter(|directory| !directory.is_empty());
    directories.chain([cwd, ""]).map(|directory| format!("{directory}/{name}")).collect()
}

/// Finds the program that `process` starts at the first of its [`candidates`].
pub(super) fn find(vfs: &Vfs, process: &Process) -> Result<Program> {
    let name = &process.args[0];
    let missing = |path: Option<String>| Error::ProgramNotFound { program: name.clone(), path };
    for candidate in candidates(name, &process.env, &process.cwd) {
        match vfs.walk(&vfs.root(), &candidate, true) {
            Ok(Walked::Entry(entry)) if entry.found.is_some() => {
                let path = format!("{}/{}", entry.parent.path(), entry.name);
                let at = entry.found.ok_or_else(|| missing(None))?;
                return program(vfs, name, at, entry.kind, &path);
            }
            Ok(Walked::Directory(_)) if name.contains('/') => {
                return Err(not_runnable(name, "it is a directory"));
            }
            Ok(_) | Err(ErrorCode::NoEntry | ErrorCode::NotDirectory) => {}
            Err(code) => return Err(failed("look for", &candidate, code)),
        }
    }
    let path = (!name.contains('/')).then(|| search_path(&process.env).to_owned());
    Err(missing(path))
}

fn search_path(env: &[String]) -> &str {
    env.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH)
}

fn not_runnable(program: &str, reason: &str) -> Error {
    Error::ProgramNotRunnable { program: program.to_owned(), reason: reason.to_owned() }
}

fn failed(verb: &str, path: &str, code: ErrorCode) -> Error {
    Error::Step { step: format!("{verb} `{path}` in the image"), source: Box::new(code) }
}

fn program(vfs: &Vfs, name: &str, at: Location, kind: FileKind, path: &str) -> Result<Program> {
    if kind != FileKind::File {
        return Err(not_runnable(name, "it is not a regular file"));
    }
    let metadata = vfs.stat(at).map_err(|code| failed("read", path, code))?;
    if metadata.size > PROGRAM_MAX {
        return Err(not_runnable(name, "it is larger than 1 GiB"));
    }
    let layer = vfs.layer(at);
    let key = layer.map(|layer| Key::new(&layer, path, metadata.size, metadata.mtime));
    Ok(Program { name: name.to_owned(), at, size: metadata.size, key, parts: Vec::new() })
}

impl Program {
    /// The program's bytes.
    pub(super) fn read(&self, vfs: &Vfs) -> Result<Vec<u8>> {
        let named = |part: &Self| Ok((part.name.clone(), part.read_file(vfs)?));
        let parts = self.parts.iter().map(named).collect::<Result<Vec<_>>>()?;
        compose(named(self)?, parts)
    }

    fn read_file(&self, vfs: &Vfs) -> Result<Vec<u8>> {
        let failed = |code| failed("read", &self.name, code);
        let options = OpenOptions { read: true, ..OpenOptions::default() };
        let file = vfs.open(self.at, options).map_err(failed)?;
        let mut bytes = vec![0; usize::try_from(self.size).unwrap_or(usize::MAX)];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], filled as u64).map_err(failed)? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}
