//! Finding and opening by path, and reading directories.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use wasmtime::component::Resource;

use super::{
    ErrorCode, FilesystemView, Result,
    descriptor::{Descriptor, kind},
    types::{DescriptorFlags, DirectoryEntry, HostDirectoryEntryStream, OpenFlags, PathFlags},
};
use crate::vfs::{DirEntry, Directory, FileKind, Location, OpenOptions, Walked};

/// The entries of a directory as they were when its reading began.
///
/// The adapter of preview 1 makes cookies of `fd_readdir` by counting entries, and opens a new stream
/// to go on from a cookie whenever another directory was read in between. So a descriptor keeps
/// what it listed until that was read to its end: what a guest removes or makes meanwhile moves no other
/// entry to another cookie (readdir(3)).
pub(super) struct Listing {
    entries: Vec<DirectoryEntry>,
    finished: AtomicBool,
}

/// A place in a directory's entries.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Entries {
    listing: Arc<Listing>,
    next: usize,
}

impl HostDirectoryEntryStream for FilesystemView<'_> {
    fn read_directory_entry(
        &mut self,
        stream: Resource<Entries>,
    ) -> Result<Option<DirectoryEntry>> {
        let Entries { listing, next } = self.table.get_mut(&stream)?;
        let entry = listing.entries.get(*next).cloned();
        match entry {
            Some(_) => *next += 1,
            None => listing.finished.store(true, Ordering::Relaxed),
        }
        Ok(entry)
    }

    fn drop(&mut self, stream: Resource<Entries>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}

impl FilesystemView<'_> {
    /// Begins to read a directory, or goes on with a listing that is not read to its end.
    pub(super) fn list(&mut self, fd: &Resource<Descriptor>) -> Result<Resource<Entries>> {
        let descriptor = self.table.get_mut(fd)?;
        let at = descriptor.as_directory()?.at;
        let unfinished = |listing: &Arc<Listing>| !listing.finished.load(Ordering::Relaxed);
        let listing = if let Some(listing) = descriptor.listing.take().filter(unfinished) {
            listing
        } else {
            let entry =
                |entry: DirEntry| DirectoryEntry { type_: kind(entry.kind), name: entry.name };
            let entries = self.vfs.read_directory(at)?.into_iter().map(entry).collect();
            Arc::new(Listing { entries, finished: AtomicBool::new(false) })
        };
        descriptor.listing = Some(Arc::clone(&listing));
        Ok(self.table.push(Entries { listing, next: 0 })?)
    }

    /// What `path` names, seen from an open directory.
    pub(super) fn find(
        &self,
        fd: &Resource<Descriptor>,
        flags: PathFlags,
        path: &str,
    ) -> Result<Location> {
        let base = self.table.get(fd)?.as_directory()?;
        let follow = flags.contains(PathFlags::SYMLINK_FOLLOW);
        Ok(self.vfs.walk(base, path, follow)?.location()?)
    }

    /// open(2), with the flags of WASI.
    pub(super) fn open(
        &self,
        fd: &Resource<Descriptor>,
        path_flags: PathFlags,
        path: &str,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<Descriptor> {
        let base = self.table.get(fd)?;
        let mutable = base.flags.contains(DescriptorFlags::MUTATE_DIRECTORY);
        let changes = flags.intersects(DescriptorFlags::WRITE | DescriptorFlags::MUTATE_DIRECTORY)
            || open.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE);
        if changes && !mutable {
            return Err(ErrorCode::ReadOnly.into());
        }
        let exclusive = open.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE);
        let follow = path_flags.contains(PathFlags::SYMLINK_FOLLOW) && !exclusive;
        match self.vfs.walk(base.as_directory()?, path, follow)? {
            Walked::Directory(directory) => Ok(open_directory(directory, open, flags, mutable)?),
            Walked::Entry(entry) => match entry.found {
                None if open.contains(OpenFlags::CREATE)
                    && !open.contains(OpenFlags::DIRECTORY) =>
                {
                    let (at, file) = self.vfs.create(&entry)?;
                    Ok(Descriptor::file(file, at, flags))
                }
                None => Err(ErrorCode::NoEntry.into()),
                Some(_) if exclusive => Err(ErrorCode::Exist.into()),
                Some(at) => Ok(self.open_entry(at, entry.kind, open, flags)?),
            },
        }
    }

    fn open_entry(
        &self,
        at: Location,
        found: FileKind,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<Descriptor, ErrorCode> {
        match found {
            FileKind::Symlink => return Err(ErrorCode::Loop),
            _ if open.contains(OpenFlags::DIRECTORY) => return Err(ErrorCode::NotDirectory),
            FileKind::File => {}
            // A pipe would block, and a device is the host's.
            _ => return Err(ErrorCode::NoSuchDevice),
        }
        let write = flags.contains(DescriptorFlags::WRITE);
        let options = OpenOptions {
            read: flags.contains(DescriptorFlags::READ) || !write,
            write,
            truncate: open.contains(OpenFlags::TRUNCATE),
        };
        let file = self.vfs.open(at, options)?;
        Ok(Descriptor::file(file, at, flags))
    }
}

fn open_directory(
    directory: Arc<Directory>,
    open: OpenFlags,
    flags: DescriptorFlags,
    mutable: bool,
) -> Result<Descriptor, ErrorCode> {
    if open.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE) {
        return Err(ErrorCode::Exist);
    }
    if flags.contains(DescriptorFlags::WRITE)
        || open.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE)
    {
        return Err(ErrorCode::IsDirectory);
    }
    // Whoever may change a directory may change those below it: preview 1 has no such flag.
    Ok(Descriptor::directory(directory, mutable))
}
