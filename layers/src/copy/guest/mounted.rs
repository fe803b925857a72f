//! A container that does not run: its layers, with its volumes where they will be mounted.

use std::{
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
};

use cap_std::fs::Dir;

use super::{Given, GuestTree, LiveTree, Seen, Xattrs, walk};
use crate::{
    tree::Special,
    union::{Follow, FsError, FsResult, Node, UnionFs},
};

/// A file or directory of the host that is mounted in a container.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Where, in the container.
    pub destination: String,
    /// Its path on the host.
    pub source: PathBuf,
    /// Whether the container is kept from changing it.
    pub readonly: bool,
}

/// A container's files where nothing is mounted yet.
pub struct Mounted {
    layers: UnionFs,
    readonly: bool,
    /// By the place where they are mounted, as a path without links and without `/` at its ends.
    volumes: Vec<(Vec<u8>, Volume)>,
}

/// A directory, and the path that led to it, as `Mounted::volumes` has it.
#[derive(Clone)]
pub struct MountedDirectory {
    place: Place,
    path: Arc<[u8]>,
}

#[derive(Clone)]
enum Place {
    Layers(Node),
    Volume { tree: LiveTree, directory: Arc<Dir>, readonly: bool },
}

/// Where a name is.
enum At<'a> {
    Layers(Node),
    Volume {
        tree: &'a LiveTree,
        parent: &'a Arc<Dir>,
        readonly: bool,
    },
    /// Something is mounted there.
    Point(&'a Volume),
}

impl Mounted {
    /// The files of a container whose root its guest cannot change if it is `readonly`. Where
    /// volumes are one below the other, the lower comes later.
    #[must_use]
    pub fn new(layers: UnionFs, readonly: bool, volumes: impl IntoIterator<Item = Volume>) -> Self {
        let mut mounted = Self { layers, readonly, volumes: Vec::new() };
        for volume in volumes {
            let path = mounted.real_path(&volume.destination);
            // What is mounted over a volume is what is seen.
            mounted.volumes.retain(|(other, _)| *other != path);
            mounted.volumes.push((path, volume));
        }
        mounted
    }

    /// Where a mount point is, whose directory may be missing still.
    fn real_path(&self, destination: &str) -> Vec<u8> {
        let trimmed = destination.trim_matches('/').as_bytes();
        let slash = trimmed.iter().rposition(|&byte| byte == b'/');
        let (parent, name) = slash.map_or((&b""[..], trimmed), |slash| trimmed.split_at(slash));
        match walk::resolve(self, parent, Follow::All) {
            Ok(walk::Found::Directory { path, .. }) => join(&path, name),
            _ => trimmed.to_vec(),
        }
    }

    fn at<'a>(&'a self, parent: &'a MountedDirectory, name: &[u8]) -> At<'a> {
        let path = join(&parent.path, name);
        if let Some((_, volume)) = self.volumes.iter().find(|(point, _)| *point == path) {
            return At::Point(volume);
        }
        match &parent.place {
            Place::Layers(node) => At::Layers(*node),
            Place::Volume { tree, directory, readonly } => {
                At::Volume { tree, parent: directory, readonly: *readonly }
            }
        }
    }

    /// As [`at`](Self::at), where something is about to change.
    fn changing<'a>(&'a self, parent: &'a MountedDirectory, name: &[u8]) -> FsResult<At<'a>> {
        let at = self.at(parent, name);
        let readonly = match &at {
            At::Layers(_) => self.readonly,
            At::Volume { readonly, .. } => *readonly,
            At::Point(volume) => volume.readonly,
        };
        if readonly { Err(FsError::ReadOnly) } else { Ok(at) }
    }
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let name = name.strip_prefix(b"/").unwrap_or(name);
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

impl Volume {
    /// The directory that it is, or that the file which it is lies in, and the file's name.
    fn open(&self) -> io::Result<(LiveTree, Option<Vec<u8>>)> {
        if self.source.metadata()?.is_dir() {
            return Ok((LiveTree::open(&self.source)?, None));
        }
        let source = self.source.canonicalize()?;
        let (Some(parent), Some(name)) = (source.parent(), source.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        Ok((LiveTree::open(parent)?, Some(name.as_encoded_bytes().to_vec())))
    }

    fn look(&self) -> FsResult<Seen> {
        let (tree, file) = self.open()?;
        let root = tree.root()?;
        file.map_or_else(|| tree.look_at(&root), |name| tree.look(&root, &name))
    }

    /// The file that it is, by its directory and name.
    fn file(&self) -> FsResult<(Arc<Dir>, Vec<u8>)> {
        let (tree, file) = self.open()?;
        Ok((tree.root()?, file.ok_or(FsError::IsDirectory)?))
    }
}

impl GuestTree for Mounted {
    type Directory = MountedDirectory;

    fn root(&self) -> FsResult<MountedDirectory> {
        let place = Place::Layers(GuestTree::root(&self.layers)?);
        Ok(MountedDirectory { place, path: Arc::default() })
    }

    fn look(&self, parent: &MountedDirectory, name: &[u8]) -> FsResult<Seen> {
        match self.at(parent, name) {
            At::Layers(node) => self.layers.look(&node, name),
            At::Volume { tree, parent, .. } => tree.look(parent, name),
            At::Point(volume) => volume.look(),
        }
    }

    fn look_at(&self, directory: &MountedDirectory) -> FsResult<Seen> {
        match &directory.place {
            Place::Layers(node) => self.layers.look_at(node),
            Place::Volume { tree, directory, .. } => tree.look_at(directory),
        }
    }

    fn enter(&self, parent: &MountedDirectory, name: &[u8]) -> FsResult<MountedDirectory> {
        let place = match self.at(parent, name) {
            At::Layers(node) => Place::Layers(self.layers.enter(&node, name)?),
            At::Volume { tree, parent, readonly } => {
                let directory = tree.enter(parent, name)?;
                Place::Volume { tree: tree.clone(), directory, readonly }
            }
            At::Point(volume) => {
                let (tree, file) = volume.open()?;
                if file.is_some() {
                    return Err(FsError::NotDirectory);
                }
                Place::Volume { directory: tree.root()?, tree, readonly: volume.readonly }
            }
        };
        Ok(MountedDirectory { place, path: join(&parent.path, name).into() })
    }

    fn list(&self, directory: &MountedDirectory) -> FsResult<Vec<Box<[u8]>>> {
        let mut names = match &directory.place {
            Place::Layers(node) => GuestTree::list(&self.layers, node)?,
            Place::Volume { tree, directory, .. } => tree.list(directory)?,
        };
        for (point, _) in &self.volumes {
            let name = point.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            if *point == join(&directory.path, name) && !names.iter().any(|other| **other == *name)
            {
                names.push(name.into());
            }
        }
        Ok(names)
    }

    fn target(&self, parent: &MountedDirectory, name: &[u8]) -> FsResult<Vec<u8>> {
        match self.at(parent, name) {
            At::Layers(node) => GuestTree::target(&self.layers, &node, name),
            At::Volume { tree, parent, .. } => tree.target(parent, name),
            At::Point(_) => Err(FsError::Invalid),
        }
    }

    fn read(&self, parent: &MountedDirectory, name: &[u8]) -> FsResult<(Seen, Box<dyn Read + '_>)> {
        match self.at(parent, name) {
            At::Layers(node) => self.layers.read(&node, name),
            At::Volume { parent, .. } => {
                let (seen, file) = LiveTree::open_file(parent, name)?;
                Ok((seen, Box::new(file)))
            }
            At::Point(volume) => {
                let (parent, name) = volume.file()?;
                let (seen, file) = LiveTree::open_file(&parent, &name)?;
                Ok((seen, Box::new(file)))
            }
        }
    }

    fn write(
        &self,
        parent: &MountedDirectory,
        name: &[u8],
        content: &mut dyn Read,
        given: &Given,
    ) -> FsResult<()> {
        match self.changing(parent, name)? {
            At::Layers(node) => self.layers.write(&node, name, content, given),
            At::Volume { tree, parent, .. } => tree.write(parent, name, content, given),
            At::Point(volume) => {
                let (parent, name) = volume.file()?;
                LiveTree::rewrite(&parent, &name, content, given)
            }
        }
    }

    fn make_directory(&self, parent: &MountedDirectory, name: &[u8]) -> FsResult<MountedDirectory> {
        match self.changing(parent, name)? {
            At::Layers(node) => drop(self.layers.make_directory(&node, name)?),
            At::Volume { tree, parent, .. } => drop(tree.make_directory(parent, name)?),
            At::Point(_) => return Err(FsError::Exists),
        }
        self.enter(parent, name)
    }

    fn finish(&self, directory: &MountedDirectory, given: &Given) -> FsResult<()> {
        match &directory.place {
            Place::Layers(node) => self.layers.finish(node, given),
            Place::Volume { tree, directory, .. } => tree.finish(directory, given),
        }
    }

    fn symlink(
        &self,
        parent: &MountedDirectory,
        name: &[u8],
        target: &[u8],
        given: &Given,
    ) -> FsResult<()> {
        match self.changing(parent, name)? {
            At::Layers(node) => GuestTree::symlink(&self.layers, &node, name, target, given),
            At::Volume { tree, parent, .. } => tree.symlink(parent, name, target, given),
            At::Point(_) => Err(FsError::Exists),
        }
    }

    fn link(
        &self,
        from: (&MountedDirectory, &[u8]),
        to: (&MountedDirectory, &[u8]),
    ) -> FsResult<()> {
        match (self.at(from.0, from.1), self.changing(to.0, to.1)?) {
            (At::Layers(one), At::Layers(other)) => {
                GuestTree::link(&self.layers, (&one, from.1), (&other, to.1))
            }
            (At::Volume { tree, parent: one, .. }, At::Volume { parent: other, .. }) => {
                tree.link((one, from.1), (other, to.1))
            }
            _ => Err(FsError::CrossDevice),
        }
    }

    fn remove(&self, parent: &MountedDirectory, name: &[u8]) -> FsResult<()> {
        match self.changing(parent, name)? {
            At::Layers(node) => self.layers.remove(&node, name),
            At::Volume { tree, parent, .. } => tree.remove(parent, name),
            At::Point(_) => Err(FsError::Busy),
        }
    }

    fn xattrs(&self, parent: &MountedDirectory, name: &[u8]) -> FsResult<Xattrs> {
        match self.at(parent, name) {
            At::Layers(node) => self.layers.xattrs(&node, name),
            At::Volume { .. } | At::Point(_) => Ok(Xattrs::new()),
        }
    }

    fn special(&self, parent: &MountedDirectory, name: &[u8], seen: &Seen) -> FsResult<Special> {
        match self.at(parent, name) {
            At::Layers(node) => GuestTree::special(&self.layers, &node, name, seen),
            At::Volume { tree, parent, .. } => tree.special(parent, name, seen),
            // Of what is mounted only files and directories are anybody's to copy.
            At::Point(_) => Ok(Special::Socket),
        }
    }
}
