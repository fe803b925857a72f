//! Operations on a file system, and what they answer.

use proptest::prelude::*;
use silo_layers::union::{FileKind, OpenOptions};

use super::{
    image::{BASE, Content, contents, directories, modes, names, targets},
    tree::Time,
};

/// An entry: a directory's path, links in which are followed, and a name in it.
#[derive(Clone, Debug)]
pub(crate) struct At {
    pub(crate) directory: String,
    pub(crate) name: String,
}

/// One of a few places for open files.
pub(crate) type Slot = usize;

pub(crate) const SLOTS: usize = 2;

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Resolve {
        path: String,
        follow: bool,
    },
    Stat(At),
    ReadDirectory(String),
    ReadLink(At),
    Open(Slot, At, OpenOptions),
    Create {
        slot: Slot,
        at: At,
        exclusive: bool,
        mode: u32,
    },
    Close(Slot),
    Read {
        slot: Slot,
        offset: u16,
        length: u16,
    },
    Write {
        slot: Slot,
        offset: u16,
        content: Content,
    },
    SetLength {
        slot: Slot,
        length: u16,
    },
    Sync(Slot),
    StatOpen(Slot),
    SetTimesOpen {
        slot: Slot,
        mtime: Option<u64>,
    },
    MakeDirectory(At, u32),
    Symlink(At, String),
    Link(At, At),
    Unlink(At),
    RemoveDirectory(At),
    Rename(At, At),
    SetMode(At, u32),
    /// Access and modification time, in seconds after 1970.
    SetTimes(At, Option<u64>, Option<u64>),
    /// truncate(2).
    Truncate(At, u16),
}

/// What stat(2) tells, as far as it is equal on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) kind: FileKind,
    /// Of regular files and symbolic links.
    pub(crate) size: Option<u64>,
    /// Of anything but directories.
    pub(crate) nlink: Option<u64>,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) atime: Time,
    pub(crate) mtime: Time,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// By its name in errno(3).
    Failed(String),
    Status(Status),
    Entries(Vec<(String, FileKind)>),
    Target(String),
    Bytes(Vec<u8>),
    /// There is no open file in the place.
    Nothing,
}

impl Status {
    /// Without what the portable encoding does not keep.
    fn portable(self) -> Self {
        Self { mode: 0, owner: (0, 0), atime: Time::Now, ..self }
    }
}

impl Outcome {
    /// Without what the portable encoding does not keep.
    pub(crate) fn portable(self) -> Self {
        match self {
            Self::Status(status) => Self::Status(status.portable()),
            other => other,
        }
    }
}

fn places() -> impl Strategy<Value = At> {
    let name = prop_oneof![60 => names(), 1 => Just("y".repeat(256))];
    (directories(), name).prop_map(|(directory, name)| At { directory, name })
}

/// Paths with all that paths can have.
fn paths() -> impl Strategy<Value = String> {
    let part = prop_oneof![6 => names(), 1 => Just("..".to_owned()), 1 => Just(".".to_owned())];
    (prop::collection::vec(part, 1..5), any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |(parts, absolute, slash)| {
            let (start, end) = (if absolute { "/" } else { "" }, if slash { "/" } else { "" });
            format!("{start}{}{end}", parts.join("/"))
        },
    )
}

fn options() -> impl Strategy<Value = OpenOptions> {
    any::<(bool, bool, bool, bool)>().prop_map(|(read, write, append, truncate)| {
        let writes = write || append;
        OpenOptions { read: read || !writes, write, append, truncate: truncate && writes }
    })
}

fn times() -> impl Strategy<Value = Option<u64>> {
    prop::option::of((0_u64..1000).prop_map(|seconds| BASE - 1 - seconds))
}

pub(crate) fn operations() -> impl Strategy<Value = Operation> {
    use Operation as Op;
    let slot = 0..SLOTS;
    prop_oneof![
        4 => (paths(), any::<bool>()).prop_map(|(path, follow)| Op::Resolve { path, follow }),
        2 => places().prop_map(Op::Stat),
        2 => directories().prop_map(Op::ReadDirectory),
        1 => places().prop_map(Op::ReadLink),
        12 => (slot.clone(), places(), options()).prop_map(|(slot, at, how)| Op::Open(slot, at, how)),
        6 => (slot.clone(), places(), prop::bool::weighted(0.2), modes())
            .prop_map(|(slot, at, exclusive, mode)| Op::Create { slot, at, exclusive, mode }),
        1 => slot.clone().prop_map(Op::Close),
        4 => (slot.clone(), 0_u16..20, prop_oneof![0_u16..20, Just(6000)])
            .prop_map(|(slot, offset, length)| Op::Read { slot, offset, length }),
        4 => (slot.clone(), prop_oneof![0_u16..20, Just(9000)], contents())
            .prop_map(|(slot, offset, content)| Op::Write { slot, offset, content }),
        2 => (slot.clone(), prop_oneof![0_u16..20, Just(7000)])
            .prop_map(|(slot, length)| Op::SetLength { slot, length }),
        1 => slot.clone().prop_map(Op::Sync),
        2 => slot.clone().prop_map(Op::StatOpen),
        1 => (slot, times()).prop_map(|(slot, mtime)| Op::SetTimesOpen { slot, mtime }),
        4 => (places(), modes()).prop_map(|(at, mode)| Op::MakeDirectory(at, mode)),
        3 => (places(), targets()).prop_map(|(at, target)| Op::Symlink(at, target)),
        4 => (places(), places()).prop_map(|(from, to)| Op::Link(from, to)),
        6 => places().prop_map(Op::Unlink),
        5 => places().prop_map(Op::RemoveDirectory),
        10 => (places(), places()).prop_map(|(from, to)| Op::Rename(from, to)),
        2 => (places(), modes()).prop_map(|(at, mode)| Op::SetMode(at, mode)),
        2 => (places(), times(), times()).prop_map(|(at, atime, mtime)| Op::SetTimes(at, atime, mtime)),
        2 => (places(), prop_oneof![0_u16..20, Just(7000)])
            .prop_map(|(at, length)| Op::Truncate(at, length)),
    ]
}
