//! Paths in a layer's archive.

use crate::error::{Error, Result};

/// The prefix of a whiteout's name, and the name of an opaque mark (OCI image-spec, layer,
/// "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What begins so is AUFS's own, and stands for nothing.
const AUFS: &[u8] = b".wh..wh.";

/// What an entry of an archive stands for, by its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A file, directory or other thing.
    Entry(Target),
    /// What lowers have at this path is gone.
    Whiteout(Vec<u8>),
    /// What lowers have in this directory is gone.
    Opaque(Vec<u8>),
    /// Nothing.
    Ignored,
}

/// A path inside the layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Components separated by `/`, without `.` and `..`; empty for the root.
    pub(super) path: Vec<u8>,
    /// Whether a `/` ended the name.
    pub(super) directory: bool,
}

pub(super) fn refused(name: &[u8], reason: &'static str) -> Error {
    Error::RefusedEntry { entry: String::from_utf8_lossy(name).into_owned(), reason }
}

/// The path that a name means, which is inside the layer.
pub(super) fn inside(name: &[u8]) -> Result<Target> {
    if name.is_empty() {
        return Err(refused(name, "it has no name"));
    }
    if name.contains(&0) {
        return Err(refused(name, "its name holds a NUL"));
    }
    let mut path = Vec::with_capacity(name.len());
    for component in name.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(refused(name, "it leads out of the layer")),
            component => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(component);
            }
        }
    }
    if name.starts_with(b"/") && !path.is_empty() {
        return Err(refused(name, "its path is absolute"));
    }
    Ok(Target { path, directory: name.ends_with(b"/") })
}

/// What an entry with this name stands for.
pub(super) fn role(name: &[u8]) -> Result<Role> {
    let target = inside(name)?;
    let (parent, last) = match target.path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&target.path[..slash], &target.path[slash + 1..]),
        None => (&[][..], &target.path[..]),
    };
    if last == OPAQUE {
        return Ok(Role::Opaque(parent.to_vec()));
    }
    if last.starts_with(AUFS) {
        return Ok(Role::Ignored);
    }
    match last.strip_prefix(WHITEOUT) {
        Some(b"" | b"." | b"..") => Err(refused(name, "it is a whiteout of nothing")),
        Some(hidden) => Ok(Role::Whiteout(match parent {
            [] => hidden.to_vec(),
            parent => [parent, hidden].join(&b'/'),
        })),
        None => Ok(Role::Entry(target)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, directory: bool) -> Role {
        Role::Entry(Target { path: path.into(), directory })
    }

    #[test]
    fn dots_and_double_slashes_do_not_count() {
        assert_eq!(role(b"./a//b/./c").unwrap(), entry("a/b/c", false));
        assert_eq!(role(b"./").unwrap(), entry("", true));
        assert_eq!(role(b"/").unwrap(), entry("", true));
        assert_eq!(role(b"...").unwrap(), entry("...", false));
    }

    #[test]
    fn what_leads_out_is_refused() {
        for name in ["", "/a", "..", "a/..", "a/../b", "./../a", "a\0b", ".wh.", ".wh..", ".wh..."]
        {
            assert!(role(name.as_bytes()).is_err(), "{name}");
        }
    }

    #[test]
    fn whiteouts_and_opaque_marks_are_recognised_in_every_directory() {
        assert_eq!(role(b".wh.a").unwrap(), Role::Whiteout(b"a".to_vec()));
        assert_eq!(role(b"./d/.wh.a").unwrap(), Role::Whiteout(b"d/a".to_vec()));
        assert_eq!(role(b"d/.wh..wh..opq").unwrap(), Role::Opaque(b"d".to_vec()));
        assert_eq!(role(b".wh..wh..opq").unwrap(), Role::Opaque(b"".to_vec()));
        assert_eq!(role(b".wh..wh.plnk").unwrap(), Role::Ignored);
        assert_eq!(role(b"x.wh.a").unwrap(), entry("x.wh.a", false));
    }
}
