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
    error::{Error, Result},
    store::DOCUMENT_MAX,
    streams::Watched,
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
        file.take(DOCUMENT_MAX).read_to_end(&mut content).map_err(Error::read(name))?;
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
        found(self.dir.metadata(name), name).map(|found| found.map(|metadata| metadata.len()))
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>> {
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
        let mut watched = Watched::new(&file);
        let mut entries = HashMap::new();
        let result = index(&mut watched, length, &mut entries);
        match result {
            Err(Broken::Short) => return Err(Error::Truncated { what }),
            Err(Broken::Unreadable(_)) if watched.at_end && !entries.is_empty() => {
                return Err(Error::Truncated { what });
            }
            Err(Broken::Unreadable(error)) if watched.error.is_some() => {
                return Err(Error::read(&what)(error));
            }
            Err(Broken::Unreadable(_)) if entries.is_empty() => {
                return Err(not_an_image(path, "it is no tar archive"));
            }
            Err(Broken::Unreadable(source)) => return Err(Error::Read { what, source }),
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

enum Broken {
    Short,
    Unreadable(io::Error),
}

fn index(
    file: &mut Watched<&File>,
    length: u64,
    entries: &mut HashMap<String, Place>,
) -> Result<(), Broken> {
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek().map_err(Broken::Unreadable)? {
        let entry = entry.map_err(Broken::Unreadable)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let link = || {
            let target = entry.link_name_bytes().unwrap_or_default();
            String::from_utf8_lossy(&target).into_owned()
        };
        let place = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(size).is_none_or(|end| end > length) {
                    return Err(Broken::Short);
                }
                Place::File { offset, size }
            }
            EntryType::Symlink => Place::Link(join(&name, &link())),
            EntryType::Link => Place::Link(normal(&link())),
            _ => continue,
        };
        entries.insert(normal(&name), place);
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
