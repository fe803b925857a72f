//! What of a container's changes is left out of listings and layers.

use std::collections::BTreeSet;

/// What of an upper is no change of the guest's, or not wanted.
#[derive(Clone, Debug, Default)]
pub struct Omitted {
    excluded: BTreeSet<Vec<u8>>,
    mount_points: BTreeSet<Vec<u8>>,
}

impl Omitted {
    /// Leaves out an empty file or directory at each of these paths of the guest, unless an image
    /// brought it: it was made to mount something on. Directories of an image in which nothing but
    /// that was made are left out too.
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

    /// Whether something was mounted here.
    pub(crate) fn is_mount_point(&self, path: &[u8]) -> bool {
        self.mount_points.contains(path)
    }

    /// Whether something was mounted below here.
    pub(crate) fn leads_to_mount_point(&self, path: &[u8]) -> bool {
        let below =
            |point: &&Vec<u8>| point.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/"));
        self.mount_points.iter().any(|point| below(&point))
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
    fn paths_are_taken_however_they_are_written() {
        let omitted = Omitted::mount_points(["/proc", "/data//in/"]).excluding(["var/cache/."]);
        assert!(omitted.is_mount_point(b"proc") && omitted.is_mount_point(b"data/in"));
        assert!(omitted.leads_to_mount_point(b"data") && !omitted.leads_to_mount_point(b"dat"));
        assert!(omitted.excludes(b"var/cache") && !omitted.excludes(b"var"));
    }
}
