//! Where `COPY` and `ADD` find files: the context, or the files of a stage or an image.

use silo_layers::{
    compose::{Located, Verdict, locate},
    copy::{GuestTree, LiveTree},
    union::{FileKind, Follow, FsError, FsResult},
};

use crate::{
    Error, Input, Result,
    ignore::{Ignore, InvalidLine},
    pattern::{Malformed, Pattern, is_pattern},
};

/// The directory of the host that files are copied from.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) tree: LiveTree,
    pub(crate) ignore: Ignore,
}

impl Context {
    /// The context of an input that has one.
    pub(crate) fn open(input: &Input) -> Result<Option<Self>> {
        let Some(path) = &input.context else { return Ok(None) };
        let failed = |verb| {
            let path = path.clone();
            move |source| Error::Context { verb, path, source }
        };
        let metadata = path.metadata().map_err(failed("find"))?;
        if !metadata.is_dir() {
            return Err(failed("open")(std::io::ErrorKind::NotADirectory.into()));
        }
        let tree = LiveTree::open(path).map_err(failed("open"))?;
        let ignore = match &input.ignore {
            None => Ignore::default(),
            Some(file) => Ignore::parse(&file.text).map_err(|InvalidLine { number, text }| {
                Error::Ignore { file: file.name.clone(), line: number, text }
            })?,
        };
        Ok(Some(Self { tree, ignore }))
    }

    /// Whether what is at a path, which is not named by itself, is copied.
    pub(crate) fn choose(&self, path: &[u8], kind: FileKind) -> Verdict {
        let path = String::from_utf8_lossy(path);
        if !self.ignore.excludes(&path) {
            return Verdict::Take;
        }
        if kind == FileKind::Directory && self.ignore.may_include_below(&path) {
            Verdict::Look
        } else {
            Verdict::Skip
        }
    }
}

/// A path of a source without `.` and doubled `/`; `None` if it leads out.
pub(crate) fn clean(path: &str) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    Some(names.join("/"))
}

/// A file that is copied: what it is called, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Match {
    pub(crate) name: Vec<u8>,
    pub(crate) located: Located,
}

/// Why there is nothing to copy.
#[derive(Debug)]
pub(crate) enum Unmatched {
    Malformed,
    Failed(FsError),
}

/// What a source means: a path, or all that a pattern matches, in the order of the names.
pub(crate) fn matches<T: GuestTree>(tree: &T, path: &str) -> Result<Vec<Match>, Unmatched> {
    let mut found: Vec<String> = vec![String::new()];
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if !is_pattern(name) {
            for path in &mut found {
                *path = join(path, name);
            }
            continue;
        }
        let pattern = Pattern::of_name(name).map_err(|Malformed| Unmatched::Malformed)?;
        let mut next = Vec::new();
        for directory in &found {
            for name in list(tree, directory).map_err(Unmatched::Failed)? {
                if pattern.matches(&name) {
                    next.push(join(directory, &name));
                }
            }
        }
        found = next;
    }
    let mut matches = Vec::new();
    for path in found {
        let located = match locate(tree, path.as_bytes(), Follow::All) {
            // A pattern's name in front was that of a file.
            Err(FsError::NotDirectory) => continue,
            located => located.map_err(Unmatched::Failed)?,
        };
        if located.kind.is_some() {
            let name = path.rsplit('/').next().unwrap_or_default().as_bytes().to_vec();
            matches.push(Match { name, located });
        }
    }
    Ok(matches)
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// The names in a directory, sorted; of what is none, none.
fn list<T: GuestTree>(tree: &T, path: &str) -> FsResult<Vec<String>> {
    let located = locate(tree, path.as_bytes(), Follow::All)?;
    if located.kind != Some(FileKind::Directory) {
        return Ok(Vec::new());
    }
    let mut directory = tree.root()?;
    for name in located.path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
        directory = tree.enter(&directory, name)?;
    }
    let names = tree.list(&directory)?;
    let mut names: Vec<String> =
        names.into_iter().filter_map(|name| String::from_utf8(name.into()).ok()).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_stay_in_the_context() {
        assert_eq!(clean("/a/./b//").as_deref(), Some("a/b"));
        assert_eq!(clean("a/../b").as_deref(), Some("b"));
        assert_eq!(clean(".").as_deref(), Some(""));
        assert_eq!(clean("a/../../b"), None);
    }
}
