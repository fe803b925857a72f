//! What of a container's changes is left out of listings and layers.

use std::{collections::BTreeSet, io};

/// What of an upper is no change of the guest's, or not wanted.
#[derive(Clone, Debug, Default)]
pub struct Omitted {
    excluded: BTreeSet<Vec<u8>>,
    mount_points: BTreeSet<Vec<u8>>,
}

impl Omitted {
    /// Leaves out an empty file or directory at each of these paths of the guest, unless an image
    /// brought it: it was made to mount something on.
    #[must_use]
    pub fn mount_points<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let mount_points = paths.into_iter().map(relative).collect();
        Self { mount_points, ..Self::default() }
    }

    /// Leaves out these paths of the guest, with all that is in them.
    #[must_use]
    pub fn excluding<'a>(mut self, paths: impl IntoIterator<Item = &'a str>) -> Self {
        self.excluded.extend(paths.into_iter().map(relative));
        self
    }

    /// Whether an entry is not wanted.
    pub(crate) fn excludes(&self, path: &[u8]) -> bool {
        self.excluded.contains(path)
    }

    /// Whether an entry is left out. `in_lowers` tells whether an image has something there.
    pub(crate) fn leaves_out(
        &self,
        path: &[u8],
        is_empty: impl FnOnce() -> io::Result<bool>,
        in_lowers: impl FnOnce() -> bool,
    ) -> io::Result<bool> {
        if self.excludes(path) {
            return Ok(true);
        }
        Ok(self.mount_points.contains(path) && !in_lowers() && is_empty()?)
    }
}

/// A path as trees have it: without `/` at its ends, `.` and doubled `/`.
fn relative(path: &str) -> Vec<u8> {
    let names: Vec<&[u8]> = path
        .as_bytes()
        .split(|&byte| byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
        .collect();
    names.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_left_out_while_they_are_empty_and_new() {
        let omitted = Omitted::mount_points(["/proc", "/data/"]).excluding(["/var//cache/."]);
        let left = |path: &str, empty, in_lowers| {
            omitted.leaves_out(path.as_bytes(), || Ok(empty), || in_lowers).unwrap()
        };
        assert!(left("proc", true, false));
        assert!(!left("proc", true, true));
        assert!(!left("data", false, false));
        assert!(left("var/cache", false, true));
        assert!(!left("var", false, false));
    }
}
