//! Archives of images: loading `docker save`'s and `podman save`'s, OCI archives and OCI layouts, and
//! saving.

pub(crate) mod docker;
mod oci;
mod save;
mod source;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead as _, BufReader, Read, Seek as _},
    path::{Path, PathBuf},
};

use oci_spec::image::Descriptor;

pub use self::save::SaveFormat;
use self::source::{Directory, Files, TarFile};
use crate::{
    Digest, Reference, Store,
    compression::Compression,
    error::{Error, Result},
    image::digest_of,
    progress::OnProgress,
    store::{Work, refs},
};

/// Where images are loaded from.
pub enum Source<'a> {
    /// An archive, or the directory of an OCI layout.
    Path(&'a Path),
    /// An archive from a stream, such as standard input.
    Reader(&'a mut dyn Read),
}

/// An image or index that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// Its name, if the archive says one.
    pub name: Option<Reference>,
    /// The digest of its manifest or index.
    pub digest: Digest,
}

impl Store {
    /// Adds all images of an archive or layout; what kind it is, is told by its content. Archives
    /// may be compressed with gzip or zstd.
    ///
    /// Nothing is added under a name unless all of the archive's images are whole.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnImage`] if the input is of no known kind, [`Error::Truncated`],
    /// [`Error::DigestMismatch`] and [`Error::SizeMismatch`] if it is damaged,
    /// [`Error::MediaType`] if it holds something else than container images.
    pub fn load(&self, source: Source<'_>, progress: OnProgress<'_>) -> Result<Vec<Loaded>> {
        self.collect_after(|| self.load_all(source, progress))
    }

    fn load_all(&self, source: Source<'_>, progress: OnProgress<'_>) -> Result<Vec<Loaded>> {
        let _pin = self.pin()?;
        let work = Work::new(self)?;
        match source {
            Source::Path(path) if path.is_dir() => {
                let files = Directory::open(path)?;
                if files.size("index.json")?.is_none() {
                    return Err(not_an_image(path, "the directory holds no index.json"));
                }
                oci::load(self, &work, &files, path, progress)
            }
            Source::Path(path) => {
                let file = File::open(path).map_err(Error::io("open", path))?;
                let file = seekable(&work, file, path)?;
                load_tar(self, &work, file, path, progress)
            }
            Source::Reader(reader) => {
                let name = Path::new("standard input");
                let reader = BufReader::new(reader);
                let file = spool(&work, reader, name)?;
                load_tar(self, &work, file, name, progress)
            }
        }
    }
}

fn not_an_image(path: &Path, reason: &str) -> Error {
    Error::NotAnImage { path: path.to_owned(), reason: reason.to_owned() }
}

/// The file itself if it is an archive that can be read in any order, else an uncompressed copy.
fn seekable(work: &Work, file: File, path: &Path) -> Result<File> {
    let regular = file.metadata().map_err(Error::io("look at", path))?.is_file();
    let mut reader = BufReader::new(file);
    let what = format!("`{}`", path.display());
    if !regular || Compression::detect(&mut reader, &what)? != Compression::None {
        return spool(work, reader, path);
    }
    let mut file = reader.into_inner();
    file.rewind().map_err(Error::io("read", path))?;
    Ok(file)
}

/// An uncompressed copy in the store's place for unfinished work.
fn spool(work: &Work, mut reader: BufReader<impl Read>, path: &Path) -> Result<File> {
    let what = format!("`{}`", path.display());
    if reader.fill_buf().map_err(Error::io("read", path))?.is_empty() {
        return Err(not_an_image(path, "it is empty"));
    }
    let compression = Compression::detect(&mut reader, &what)?;
    let copy_path: PathBuf = work.path("archive");
    let mut copy = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&copy_path)
        .map_err(Error::io("create", &copy_path))?;
    let mut content = crate::streams::Watched::new(compression.decoder(reader, work.budget()));
    if let Err(error) = std::io::copy(&mut content, &mut copy) {
        return Err(match content.error {
            Some(error) => Error::read(&what)(error),
            None => Error::io("write", &copy_path)(error),
        });
    }
    copy.rewind().map_err(Error::io("read", &copy_path))?;
    Ok(copy)
}

fn load_tar(
    store: &Store,
    work: &Work,
    file: File,
    path: &Path,
    progress: OnProgress<'_>,
) -> Result<Vec<Loaded>> {
    let files = TarFile::open(file, path)?;
    if files.size("oci-layout")?.is_some() && files.size("index.json")?.is_some() {
        oci::load(store, work, &files, path, progress)
    } else if files.size("manifest.json")?.is_some() {
        docker::load(store, work, &files, path, progress)
    } else {
        Err(not_an_image(path, "the archive holds neither index.json nor manifest.json"))
    }
}

/// Makes new images visible, all in one step. What the store could not list stays out of it.
pub(crate) fn publish(
    store: &Store,
    work: &Work,
    images: Vec<(Option<Reference>, Descriptor)>,
) -> Result<Vec<Loaded>> {
    store.settle(work)?;
    let mut readable = BTreeSet::new();
    for (_, descriptor) in &images {
        if readable.insert(digest_of(descriptor)?) {
            store.images_under(descriptor)?;
        }
    }
    store.change_entries(work, |entries| {
        images
            .into_iter()
            .map(|(name, descriptor)| {
                refs::set(entries, &descriptor, name.as_ref())?;
                Ok(Loaded { name, digest: digest_of(&descriptor)? })
            })
            .collect()
    })
}
