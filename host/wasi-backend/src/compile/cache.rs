//! Compiled code on disk.
//!
//! ```text
//! CACHE/<compatibility>/<module digest>.cwasm    the code, then its checksum
//! CACHE/<compatibility>/<module digest>.seen     which file the checksum was right of
//! CACHE/<compatibility>/<module digest>.lock     held while it is compiled
//! CACHE/<compatibility>/keys/<key>               the digest of the module that a key names
//! ```

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use blake3::Hash;
use silo_layers::Digest;
use wasmtime::{Engine, component::Component};

use super::{
    bound,
    load::{Verified, load},
};

/// Ends a file of compiled code, before the checksum.
const MAGIC: &[u8; 8] = b"silo-cw1";
const TRAILER: usize = MAGIC.len() + blake3::OUT_LEN;

/// A directory of compiled code. What cannot be read or trusted is compiled again; what
/// cannot be written is compiled every time.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
}

/// Names a program that cannot change: a file in an image's layer.
#[derive(Debug)]
pub(crate) struct Key(Hash);

impl Key {
    /// Size and time of change stand guard over a path that a container has renamed.
    pub(crate) fn new(layer: &Digest, path: &str, size: u64, mtime: SystemTime) -> Self {
        let mtime = mtime.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut hasher = blake3::Hasher::new();
        hasher.update(layer.as_bytes());
        hasher.update(&size.to_le_bytes());
        hasher.update(&mtime.as_nanos().to_le_bytes());
        hasher.update(path.as_bytes());
        Self(hasher.finalize())
    }
}

impl Key {
    /// Names what is composed of the programs that these name, in this order.
    pub(crate) fn all<'a>(keys: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for key in keys {
            hasher.update(key.0.as_bytes());
        }
        Self(hasher.finalize())
    }
}

impl Cache {
    pub(super) fn new(root: &Path, compatibility: &str) -> Self {
        Self { dir: root.join(compatibility) }
    }

    fn code(&self, digest: &Hash) -> PathBuf {
        self.dir.join(format!("{}.cwasm", digest.to_hex()))
    }

    fn key(&self, key: &Key) -> PathBuf {
        self.dir.join("keys").join(key.0.to_hex().as_str())
    }

    /// The code of the program that `key` names.
    pub(super) fn by_key(&self, engine: &Engine, key: &Key) -> Option<Component> {
        private_dir(&self.dir)?;
        let digest = fs::read_to_string(self.key(key)).ok()?;
        self.load(engine, &Hash::from_hex(digest.trim()).ok()?)
    }

    /// Notes which module `key` names.
    pub(super) fn remember(&self, key: &Key, digest: &Hash) {
        let path = self.key(key);
        let _ = self
            .prepare()
            .and_then(|()| create_private(path.parent().unwrap_or(&self.dir)))
            .and_then(|()| replace(&path, &[digest.to_hex().as_bytes()]));
    }

    /// The module's code, if it is there, whole and this user's.
    pub(super) fn load(&self, engine: &Engine, digest: &Hash) -> Option<Component> {
        private_dir(&self.dir)?;
        let path = self.code(digest);
        let verified = verify(&path).ok()??;
        load(engine, &verified).ok()
    }

    /// Keeps a module's code. Failing to is no error: it is compiled again next time.
    pub(super) fn store(&self, digest: &Hash, code: &[u8]) {
        let checksum = blake3::hash(code);
        let _ = self
            .prepare()
            .and_then(|()| replace(&self.code(digest), &[code, MAGIC, checksum.as_bytes()]))
            .and_then(|()| {
                let root = self.dir.parent().unwrap_or(&self.dir);
                bound::keep_within(root, bound::SIZE_MAX, &self.code(digest))
            });
    }

    /// Keeps other processes from compiling the same module until the guard is dropped.
    pub(super) fn lock(&self, digest: &Hash) -> Option<File> {
        self.prepare().ok()?;
        let file = File::create(self.code(digest).with_extension("lock")).ok()?;
        file.lock().ok()?;
        Some(file)
    }

    fn prepare(&self) -> io::Result<()> {
        create_private(&self.dir)?;
        private_dir(&self.dir).ok_or_else(|| io::ErrorKind::PermissionDenied.into())
    }
}

/// Compares the checksum of a file of compiled code, unless that was done before and the file is still
/// the same: to read CPython's through takes longer than to start it.
fn verify(path: &Path) -> io::Result<Option<Verified<'_>>> {
    let metadata = fs::symlink_metadata(path)?;
    if !is_private(&metadata, fs::Metadata::is_file) {
        return Ok(None);
    }
    let (seen, identity) = (path.with_extension("seen"), identity(&metadata));
    if identity.is_some() && fs::read_to_string(&seen).ok() == identity {
        return Ok(Some(Verified(path)));
    }
    let mut file = File::open(path)?;
    if !is_whole(&mut file)? {
        return Ok(None);
    }
    if let Some(identity) = identity {
        // What a crash of the host left of the file must not be taken for it.
        let _ = file.sync_all().and_then(|()| replace(&seen, &[identity.as_bytes()]));
    }
    Ok(Some(Verified(path)))
}

/// Names a file and its content: whatever changes it changes its ctime (inode(7)), which nobody can
/// set. `None` where the host has no such thing.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other hosts have none")]
fn identity(metadata: &fs::Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let (device, inode, size) = (metadata.dev(), metadata.ino(), metadata.size());
    let (seconds, nanoseconds) = (metadata.ctime(), metadata.ctime_nsec());
    Some(format!("{device} {inode} {size} {seconds}.{nanoseconds:09}\n"))
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> Option<String> {
    None
}

/// Reads a file of compiled code through and compares its checksum.
fn is_whole(file: &mut File) -> io::Result<bool> {
    let Some(length) = file.metadata()?.len().checked_sub(TRAILER as u64) else { return Ok(false) };
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut file.take(length), &mut hasher)?;
    let mut trailer = [0; TRAILER];
    file.seek(SeekFrom::Start(length))?;
    file.read_exact(&mut trailer)?;
    let (magic, checksum) = trailer.split_at(MAGIC.len());
    Ok(magic == MAGIC && hasher.finalize() == *checksum)
}

/// Writes a file so that it appears whole or not at all, but for a crash of the host, which the
/// checksum finds.
fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = private_file(&temporary).and_then(|mut file| {
        for part in parts {
            file.write_all(part)?;
        }
        fs::rename(&temporary, path)
    });
    written.inspect_err(|_| drop(fs::remove_file(&temporary)))
}

#[cfg(unix)]
fn private_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let _ = fs::remove_file(path);
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(unix)]
fn create_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// `Some` when `dir` is a directory of this user that nobody else may enter.
fn private_dir(dir: &Path) -> Option<()> {
    is_private(&fs::symlink_metadata(dir).ok()?, fs::Metadata::is_dir).then_some(())
}

#[cfg(unix)]
fn is_private(metadata: &fs::Metadata, is_kind: fn(&fs::Metadata) -> bool) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    is_kind(metadata)
        && metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.mode() & 0o777 == metadata.mode() & 0o700
}

// On Windows the store lies in the user's profile, whose inherited access control list
// admits the user, the system and administrators.
#[cfg(not(unix))]
fn private_file(path: &Path) -> io::Result<File> {
    let _ = fs::remove_file(path);
    File::options().write(true).create_new(true).open(path)
}

#[cfg(not(unix))]
fn create_private(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

#[cfg(not(unix))]
fn is_private(metadata: &fs::Metadata, is_kind: fn(&fs::Metadata) -> bool) -> bool {
    is_kind(metadata)
}
