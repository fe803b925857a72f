//! The files of an archive or a layout directory, in any order.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek as _, SeekFrom},
    path::Path,
};

use cap_std::{ambient_authority, fs::Dir};
use tar::EntryType;

use super::not_an_image;
use crate::{
    error::{Error, Result, shown},
    limits,
    store::DOCUMENT_MAX,
    tarball::{Fault, Reader},
};

/// How many links may lead from one name to another.
const LINKS_MAX: usize = 16;

/// Files by name.
pub(super) trait Files {
    /// The file's size in bytes, if there is one of this name.
    fn size(&self, name: &str) -> Result<Option<u64>>;

    /// The file from its beginning, if there is one of this name. One at a time is read.
    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>>;

    /// A document's content, if there is one of this name.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        let mut content = Vec::new();
        file.take(DOCUMENT_MAX + 1).read_to_end(&mut content).map_err(Error::read(name))?;
        if content.len() as u64 > DOCUMENT_MAX {
            return Err(Error::TooLong { what: shown(name.as_bytes()), limit: DOCUMENT_MAX });
        }
        Ok(Some(content))
    }
}

/// A directory of the host. No link leads out of it.
pub(super) struct Directory {
    dir: Dir,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let dir = Dir::open_ambient_dir(path, ambient_authority());
        Ok(Self { dir: dir.map_err(Error::io("open", path))? })
    }
}

impl Files for Directory {
    fn size(&self, name: &str) -> Result<Option<u64>> {
        let found = found(self.dir.metadata(name), name)?;
        // A fifo or device gives no end of bytes, or waits for them.
        Ok(found.filter(cap_std::fs::Metadata::is_file).map(|metadata| metadata.len()))
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>> {
        if self.size(name)?.is_none() {
            return Ok(None);
        }
        let file = found(self.dir.open(name), name)?;
        Ok(file.map(|file| Box::new(file.into_std()) as Box<dyn Read>))
    }
}

fn found<T>(result: io::Result<T>, name: &str) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", Path::new(name))(error)),
    }
}

/// A tar archive in a file, with where everything in it is.
pub(super) struct TarFile {
    file: File,
    entries: HashMap<String, Place>,
}

enum Place {
    File { offset: u64, size: u64 },
    Link(String),
}

impl TarFile {
    /// Reads the headers of all entries.
    pub(super) fn open(file: File, path: &Path) -> Result<Self> {
        let length = file.metadata().map_err(Error::io("look at", path))?.len();
        if length == 0 {
            return Err(not_an_image(path, "it is empty"));
        }
        let what = format!("`{}`", path.display());
        let mut entries = HashMap::new();
        match index(&file, length, &mut entries) {
            Err(Fault::NotTar) => return Err(not_an_image(path, "it is no tar archive")),
            Err(fault) => return Err(fault.of(&what)),
            Ok(()) => {}
        }
        Ok(Self { file, entries })
    }

    fn place(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = name.to_owned();
        for _ in 0..LINKS_MAX {
            match self.entries.get(&name)? {
                Place::File { offset, size } => return Some((*offset, *size)),
                Place::Link(target) => name.clone_from(target),
            }
        }
        None
    }
}

fn index(file: &File, length: u64, entries: &mut HashMap<String, Place>) -> Result<(), Fault> {
    let mut archive = Reader::new(file);
    while let Ok(entry) = archive.next()? {
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        let link = || String::from_utf8_lossy(&entry.link).into_owned();
        let (offset, size) = (entry.position, entry.size);
        if offset.checked_add(size).is_none_or(|end| end > length) {
            return Err(Fault::Truncated);
        }
        let place = match entry.kind() {
            EntryType::Regular | EntryType::Continuous if entry.sparse.is_none() => {
                Some(Place::File { offset, size })
            }
            EntryType::Symlink => Some(Place::Link(join(&name, &link()))),
            EntryType::Link => Some(Place::Link(normal(&link()))),
            _ => None,
        };
        entries.extend(place.map(|place| (normal(&name), place)));
        if entries.len() > limits::FILES_MAX {
            return Err(Fault::Malformed("it has more files than any image"));
        }
        archive.seek_past()?;
    }
    Ok(())
}

/// A path without `.`, `..` and double slashes.
fn normal(path: &str) -> String {
    let mut components = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()),
            component => components.push(component),
        }
    }
    components.join("/")
}

/// Where a symbolic link leads.
fn join(link: &str, target: &str) -> String {
    match link.rsplit_once('/') {
        Some((parent, _)) if !target.starts_with('/') => normal(&format!("{parent}/{target}")),
        _ => normal(target),
    }
}

impl Files for TarFile {
    fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.place(name).map(|(_, size)| size))
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>> {
        let section =
            self.place(name).map(|(offset, size)| Section { file: &self.file, offset, left: size });
        Ok(section.map(|section| Box::new(section) as Box<dyn Read>))
    }
}

/// A part of a file.
struct Section<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let mut file = self.file;
        file.seek(SeekFrom::Start(self.offset))?;
        let count = file.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_within_the_archive() {
        assert_eq!(join("a/layer.tar", "../b/layer.tar"), "b/layer.tar");
        assert_eq!(join("layer.tar", "../../b"), "b");
        assert_eq!(join("a/b/c", "/d"), "d");
        assert_eq!(normal("./a//b/"), "a/b");
    }
}
