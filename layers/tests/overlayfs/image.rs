//! Random images: a few layers over a handful of names, so that they meet.

use std::{
    io::ErrorKind,
    path::Path,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use silo_layers::tree::{Attributes, Directory, Encoding, Special, Writer};

#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// The topmost first.
    pub(crate) layers: Vec<Layer>,
}

#[derive(Clone, Debug)]
pub(crate) struct Layer(Vec<(String, Made, Extras)>);

#[derive(Clone, Debug)]
enum Made {
    File(Content),
    Directory,
    Symlink(String),
    HardLink(String),
    Special(Special),
    Whiteout,
    Opaque,
}

/// A file's content: so many bytes, each of which depends on its place and on `seed`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    pub(crate) length: u16,
    pub(crate) seed: u8,
}

impl Content {
    pub(crate) fn bytes(self) -> Vec<u8> {
        (0..self.length).map(|at| self.seed.wrapping_add(at.to_le_bytes()[0])).collect()
    }
}

/// What else an entry carries.
#[derive(Clone, Copy, Debug)]
struct Extras {
    mode: u32,
    owner: u32,
    /// Seconds after [`BASE`].
    mtime: u32,
    attribute: bool,
    capability: bool,
}

/// Where the times of images begin, in seconds after 1970: in the past of every run.
pub(crate) const BASE: u64 = 1_000_000_000;

/// A valid `security.capability`, of version 2: `CAP_NET_RAW` permitted and effective
/// (linux/capability.h, `struct vfs_cap_data`).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

pub(crate) fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        24 => prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned),
        3 => prop::sample::select(vec![
            "A", "%41", "%wa", "%o", "con", "aux.h", "nul.", "é", "e\u{301}", "#1", "b:c", "日本", ".wh.a",
        ])
        .prop_map(str::to_owned),
        1 => Just("x".repeat(255)),
    ]
}

pub(crate) fn directories() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(String::new()),
        5 => names(),
        2 => (names(), names()).prop_map(|(one, other)| format!("{one}/{other}")),
    ]
}

pub(crate) fn contents() -> impl Strategy<Value = Content> {
    (prop_oneof![0_u16..9, Just(5000)], any::<u8>())
        .prop_map(|(length, seed)| Content { length, seed })
}

/// Targets of symbolic links: relative, absolute, upwards, dangling and circular ones.
pub(crate) fn targets() -> impl Strategy<Value = String> {
    let below = prop::collection::vec(names(), 1..3).prop_map(|names| names.join("/")).boxed();
    prop_oneof![
        4 => below.clone(),
        2 => below.clone().prop_map(|path| format!("/{path}")),
        2 => below.clone().prop_map(|path| format!("../{path}")),
        1 => below.prop_map(|path| format!("../../.././{path}/")),
        1 => prop::sample::select(vec![".", "..", "/", "nowhere", "/proc/self", "../../etc"])
            .prop_map(str::to_owned),
    ]
}

pub(crate) fn modes() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![0o644, 0o755, 0o700, 0o777, 0o4755, 0o2711, 0o1777, 0o600])
}

fn extras() -> impl Strategy<Value = Extras> {
    (modes(), 0_u32..3, 0_u32..1000, prop::bool::weighted(0.2), prop::bool::weighted(0.2)).prop_map(
        |(mode, owner, mtime, attribute, capability)| Extras {
            mode,
            owner,
            mtime,
            attribute,
            capability,
        },
    )
}

fn made() -> impl Strategy<Value = Made> {
    let special = prop_oneof![
        Just(Special::Fifo),
        Just(Special::Socket),
        Just(Special::Char { major: 1, minor: 3 }),
        Just(Special::Block { major: 7, minor: 0 }),
    ];
    let path = (directories(), names()).prop_map(|(directory, name)| format!("{directory}/{name}"));
    prop_oneof![
        10 => contents().prop_map(Made::File),
        6 => Just(Made::Directory),
        3 => targets().prop_map(Made::Symlink),
        2 => path.prop_map(Made::HardLink),
        1 => special.prop_map(Made::Special),
        2 => Just(Made::Whiteout),
        1 => Just(Made::Opaque),
    ]
}

pub(crate) fn images() -> impl Strategy<Value = Image> {
    let entry = (directories(), names(), made(), extras())
        .prop_map(|(directory, name, made, extras)| (format!("{directory}/{name}"), made, extras));
    let layer = prop::collection::vec(entry, 0..20).prop_map(Layer);
    prop::collection::vec(layer, 1..5).prop_map(|layers| Image { layers })
}

impl Layer {
    /// Writes the layer's tree. What cannot be, such as an entry below a file, is left out.
    pub(crate) fn write(&self, path: &Path, encoding: Encoding) {
        let mut writer = Writer::new(Directory::open_root(path, encoding).unwrap());
        for (path, made, extras) in &self.0 {
            let written = made.write(&mut writer, path.as_bytes(), &extras.attributes(made));
            let Err(error) = written else { continue };
            let kind = error.source.kind();
            assert!(
                matches!(
                    kind,
                    ErrorKind::NotADirectory | ErrorKind::NotFound | ErrorKind::PermissionDenied
                ),
                "{error}: {kind}"
            );
        }
        writer.finish().unwrap();
    }
}

impl Made {
    fn write(
        &self,
        writer: &mut Writer,
        path: &[u8],
        attributes: &Attributes,
    ) -> Result<(), silo_layers::tree::TreeError> {
        match self {
            Self::File(content) => writer.file(path, attributes, &mut &*content.bytes()).map(drop),
            Self::Directory => writer.directory(path, attributes),
            Self::Symlink(target) => writer.symlink(path, target.as_bytes(), attributes),
            Self::HardLink(existing) => writer.hard_link(path, existing.as_bytes()),
            Self::Special(special) => writer.special(path, *special, attributes).map(drop),
            Self::Whiteout => writer.whiteout(path),
            Self::Opaque => writer.opaque(path),
        }
    }
}

impl Extras {
    fn attributes(self, made: &Made) -> Attributes {
        let mtime = SystemTime::UNIX_EPOCH + Duration::new(BASE + u64::from(self.mtime), 7_000);
        let mut attributes = Attributes::new(self.mode, mtime);
        (attributes.uid, attributes.gid) = (self.owner, self.owner);
        if self.attribute {
            attributes.xattrs.push((b"user.kept".to_vec(), vec![b'v'; 300]));
        }
        if self.capability && matches!(made, Made::File(_)) {
            attributes.xattrs.push((b"security.capability".to_vec(), CAPABILITY.to_vec()));
        }
        attributes
    }
}
