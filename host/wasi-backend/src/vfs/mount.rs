//! The guest's tree from a bundle: root, mounts, working directory.

use silo_isolation::{Bundle, Error, Mount, MountKind, Result};

use super::{
    ErrorCode, FileKind, FileSystem, Location, Vfs, Volume, Walked, memory::MemoryFs, union,
};

/// What a tmpfs holds at most when nothing is said, in bytes. Linux takes half of the memory,
/// which a portable program cannot ask for.
const DEFAULT_TMPFS_SIZE: u64 = 1 << 30;

/// Puts a guest's tree together. Mount points and the working directory are created where
/// they do not exist.
pub(crate) fn assemble(bundle: &Bundle) -> Result<Vfs> {
    let root = union::open(&bundle.root.snapshot)?;
    let mut vfs = Vfs::new(Box::new(root));
    for mount in &bundle.mounts {
        place(&mut vfs, mount, bundle.limits.memory)?;
    }
    let cwd = &bundle.process.cwd;
    directory(&vfs, cwd).map_err(step(format!("make the working directory `{cwd}`")))?;
    if bundle.root.readonly {
        vfs.make_root_readonly();
    }
    Ok(vfs)
}

fn step(step: String) -> impl FnOnce(ErrorCode) -> Error {
    move |code| Error::Step { step, source: Box::new(code) }
}

fn place(vfs: &mut Vfs, mount: &Mount, memory: Option<u64>) -> Result<()> {
    let (fs, is_file): (Box<dyn FileSystem>, bool) = match &mount.kind {
        MountKind::Bind { source } => {
            let volume = Volume::open(source).map_err(Error::file("open", source))?;
            let is_file = volume.is_file();
            (Box::new(volume), is_file)
        }
        MountKind::Tmpfs { size, .. } => {
            let size = size.or(memory).unwrap_or(DEFAULT_TMPFS_SIZE);
            (Box::new(MemoryFs::new(size)), false)
        }
    };
    let destination = &mount.destination;
    let point = if is_file { file(vfs, destination) } else { directory(vfs, destination) };
    let point = point.map_err(step(format!("make the mount point `{destination}`")))?;
    vfs.mount(point, fs, mount.readonly);
    Ok(())
}

/// The directory at an absolute path of the guest, made with those above it.
fn directory(vfs: &Vfs, path: &str) -> super::Result<Location> {
    let mut here = vfs.root();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if matches!(vfs.walk(&here, name, true)?, Walked::Entry(entry) if entry.found.is_none()) {
            vfs.create_directory(&here, name)?;
        }
        here = match vfs.walk(&here, name, true)? {
            Walked::Directory(directory) => directory,
            Walked::Entry(_) => return Err(ErrorCode::NotDirectory),
        };
    }
    Ok(here.at)
}

/// The file at an absolute path of the guest, made with the directories above it.
fn file(vfs: &Vfs, path: &str) -> super::Result<Location> {
    let path = path.trim_end_matches('/');
    directory(vfs, path.rsplit_once('/').map_or("", |(parent, _)| parent))?;
    match vfs.walk(&vfs.root(), path, true)? {
        Walked::Directory(_) => Err(ErrorCode::IsDirectory),
        Walked::Entry(entry) => match entry.found {
            Some(at) if entry.kind == FileKind::File => Ok(at),
            Some(_) => Err(ErrorCode::Exist),
            None => vfs.create(&entry).map(|(at, _)| at),
        },
    }
}
