//! Whole trees, and how they are compared.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::SystemTime,
};

use proptest::{prelude::*, test_runner::TestCaseResult};

use super::operation::Status;

/// A time as far as it is the same in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// An image's, or one that was set: seconds after 1970 and nanoseconds.
    Given(u64, u32),
    /// The clock's, when something was changed.
    Now,
}

/// 1 January 2020, in seconds after 1970: behind all times of images, before those of any run.
const RECENT: u64 = 1_577_836_800;

impl Time {
    pub(crate) fn new(seconds: u64, nanoseconds: u32) -> Self {
        if seconds < RECENT { Self::Given(seconds, nanoseconds) } else { Self::Now }
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Self::new(since.as_secs(), since.subsec_nanos())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) status: Status,
    /// Of a regular file its content, of a symbolic link its target.
    pub(crate) content: Vec<u8>,
    /// Extended attributes, but those of overlayfs; `None` where they can't be asked for.
    pub(crate) attributes: Option<BTreeMap<String, Vec<u8>>>,
}

/// Files by path from the root, which is the empty one.
pub(crate) type Tree = BTreeMap<String, File>;

/// How much of two trees must be equal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What the portable encoding keeps.
    Portable,
    /// All but extended attributes.
    Attributes,
    All,
}

impl Detail {
    fn of(self, file: &File) -> File {
        let mut file = file.clone();
        if self != Self::All {
            file.attributes = None;
        }
        if self == Self::Portable {
            file.status.mode = 0;
            file.status.owner = (0, 0);
            file.status.atime = Time::Now;
        }
        file
    }
}

pub(crate) fn equal(what: &str, one: &Tree, other: &Tree, detail: Detail) -> TestCaseResult {
    for path in one.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
        let (one, other) = (one.get(path), other.get(path));
        let (one, other) = (one.map(|file| detail.of(file)), other.map(|file| detail.of(file)));
        prop_assert_eq!(one, other, "`{}` of {}", path, what);
    }
    Ok(())
}

/// The sets of paths that are one file, of a tree of the host.
pub(crate) fn hard_links(root: &Path) -> BTreeSet<Vec<String>> {
    let mut by_inode: HashMap<u64, Vec<String>> = HashMap::new();
    let mut pending = vec![String::new()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(root.join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = join(&directory, entry.file_name().to_str().unwrap());
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                pending.push(path);
            } else if metadata.rdev() != 0 || !is_device(&metadata) {
                by_inode.entry(metadata.ino()).or_default().push(path);
            }
        }
    }
    groups(by_inode.into_values())
}

/// overlayfs links its whiteouts with one another.
fn is_device(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_char_device(&metadata.file_type())
}

pub(crate) fn groups(of: impl Iterator<Item = Vec<String>>) -> BTreeSet<Vec<String>> {
    of.filter(|paths| paths.len() > 1)
        .map(|mut paths| {
            paths.sort();
            paths
        })
        .collect()
}

pub(crate) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}
