//! Paths in a layer's archive.

use crate::{
    error::{Error, Result, shown},
    limits,
};

/// The prefix of a whiteout's name, and the name of an opaque mark (OCI image-spec, layer,
/// "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What begins so is AUFS's own, and stands for nothing.
const AUFS: &[u8] = b".wh..wh.";
/// Where AUFS keeps files with several names, by inode numbers; entries are hard links to them.
pub(super) const AUFS_LINKS: &[u8] = b".wh..wh.plnk";

/// What an entry of an archive stands for, by its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A file, directory or other thing.
    Entry(Target),
    /// What lowers have at this path is gone.
    Whiteout(Vec<u8>),
    /// What lowers have in this directory is gone.
    Opaque(Vec<u8>),
    /// A file that is no part of the layer, but for what links to it.
    AufsLink(Target),
    /// Nothing.
    Ignored,
}

/// A path inside the layer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Components separated by `/`, without `.` and `..`; empty for the root.
    pub(crate) path: Vec<u8>,
    /// Whether a `/` ended the name.
    pub(crate) directory: bool,
}

pub(super) fn refused(name: &[u8], reason: &'static str) -> Error {
    Error::RefusedEntry { entry: shown(name), reason }
}

/// The path that a name means, which is inside the layer.
pub(crate) fn inside(name: &[u8]) -> Result<Target> {
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
    if path.len() > limits::PATH_MAX {
        return Err(refused(name, "its path is longer than 4095 bytes"));
    }
    if path.split(|&byte| byte == b'/').count() > limits::DEPTH_MAX {
        return Err(refused(name, "its path has more than 256 components"));
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
    if parent == AUFS_LINKS {
        return Ok(Role::AufsLink(target));
    }
    if target.path.starts_with(AUFS) && !parent.is_empty() {
        return Ok(Role::Ignored);
    }
    if components(parent).any(|component| component.starts_with(WHITEOUT)) {
        return Err(refused(name, "it lies in a whiteout"));
    }
    let hidden = last.strip_prefix(WHITEOUT);
    if components(parent).chain([hidden.unwrap_or(last)]).any(|name| name.len() > limits::NAME_MAX)
    {
        return Err(refused(name, "its name is longer than 255 bytes"));
    }
    if last == OPAQUE {
        return Ok(Role::Opaque(parent.to_vec()));
    }
    if last.starts_with(AUFS) {
        return Ok(Role::Ignored);
    }
    match hidden {
        Some(b"" | b"." | b"..") => Err(refused(name, "it is a whiteout of nothing")),
        Some(hidden) => Ok(Role::Whiteout(match parent {
            [] => hidden.to_vec(),
            parent => [parent, hidden].join(&b'/'),
        })),
        None => Ok(Role::Entry(target)),
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
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
    fn what_no_file_system_holds_is_refused() {
        let name = |count: usize| "n".repeat(count);
        for (long, longer) in [
            (name(255), name(256)),
            (format!(".wh.{}", name(255)), format!(".wh.{}", name(256))),
            (format!("d/{}/f", name(255)), format!("d/{}/f", name(256))),
            (format!("{}f", "d/".repeat(255)), format!("{}f", "d/".repeat(256))),
            (format!("{0}/{0}", name(255)).repeat(8), format!("{}/", name(200)).repeat(21)),
        ] {
            assert!(long.len() > 4000 || role(long.as_bytes()).is_ok(), "{long}");
            assert!(role(longer.as_bytes()).is_err(), "{longer}");
        }
        assert!(role(b".wh.d/file").is_err());
    }

    #[test]
    fn whiteouts_and_opaque_marks_are_recognised_in_every_directory() {
        assert_eq!(role(b".wh.a").unwrap(), Role::Whiteout(b"a".to_vec()));
        assert_eq!(role(b"./d/.wh.a").unwrap(), Role::Whiteout(b"d/a".to_vec()));
        assert_eq!(role(b"d/.wh..wh..opq").unwrap(), Role::Opaque(b"d".to_vec()));
        assert_eq!(role(b".wh..wh..opq").unwrap(), Role::Opaque(b"".to_vec()));
        for name in
            [".wh..wh.plnk", ".wh..wh.plnk/", ".wh..wh.aufs", ".wh..wh.orph/x", "d/.wh..wh.aufs"]
        {
            assert_eq!(role(name.as_bytes()).unwrap(), Role::Ignored, "{name}");
        }
        let link = Target { path: b".wh..wh.plnk/1.2".to_vec(), directory: false };
        assert_eq!(role(b"./.wh..wh.plnk/1.2").unwrap(), Role::AufsLink(link));
        assert_eq!(role(b"x.wh.a").unwrap(), entry("x.wh.a", false));
    }
}
