//! A disk that remembers in which order it was written: a file for a loop device. What the kernel's
//! block layer promises about a loss of power holds for it exactly: what was written before a flush
//! is there, of what was written after it any part may be.
//!
//! The file is the only one of a FUSE file system, served here by the protocol itself
//! (linux/fuse.h, 7.31), as it takes no more than these few requests.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::support::host::text;

/// What came to the disk.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Bytes at an offset.
    Write(u64, Vec<u8>),
    /// All before this is on the medium.
    Flush,
    /// Something happened outside, of which the disk knows nothing.
    Mark,
}

/// What the disk holds, and all that came to it.
#[derive(Debug)]
struct Medium {
    content: Vec<u8>,
    events: Vec<Event>,
}

/// The disk; its file goes when this is dropped.
pub(super) struct Recorder {
    medium: Arc<Mutex<Medium>>,
    folder: PathBuf,
}

impl Recorder {
    /// A disk that holds `content`, in a new directory `folder`.
    pub(super) fn new(content: Vec<u8>, folder: &Path) -> Self {
        fs::create_dir(folder).expect("a place to mount");
        let device = File::options().read(true).write(true).open("/dev/fuse").expect("FUSE");
        let mut mount = Command::new("mount");
        mount.args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=40000,user_id=0,group_id=0", "disk"]);
        mount.arg(folder).stdin(device.try_clone().expect("a copy of the handle"));
        assert!(mount.status().expect("mount").success(), "FUSE mounts");
        let medium = Arc::new(Mutex::new(Medium { content, events: Vec::new() }));
        let served = Arc::clone(&medium);
        thread::spawn(move || serve(&device, &served));
        Self { medium, folder: folder.to_owned() }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// Notes that something happened now.
    pub(super) fn mark(&self) {
        lock(&self.medium).events.push(Event::Mark);
    }

    /// All that came so far.
    pub(super) fn events(&self) -> Vec<Event> {
        lock(&self.medium).events.clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Whoever has the file still open is cut off from it.
        let _ = Command::new("umount").args(["-l", text(&self.folder)]).status();
    }
}

fn lock(medium: &Mutex<Medium>) -> MutexGuard<'_, Medium> {
    medium.lock().unwrap_or_else(PoisonError::into_inner)
}

const NAME: &str = "disk";
const FILE: u64 = 2;
/// The longest write, in bytes, which the kernel wants room for beside its headers.
const MAX_WRITE: usize = 128 << 10;
const IN_HEADER: usize = 40;
/// The fixed parts of a read and of a write.
const IN_TRANSFER: usize = 40;
/// How long the kernel may remember attributes and names, in seconds: longer than any test.
const FOR_EVER: u64 = 1 << 20;
const ENOENT: i32 = 2;
const ENOSYS: i32 = 38;

/// Answers requests until the file system is unmounted.
fn serve(mut device: &File, medium: &Mutex<Medium>) {
    let mut buffer = vec![0; MAX_WRITE + 4096];
    loop {
        let length = match device.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let request = &buffer[..length];
        let Some(answer) = answer(request, medium) else { continue };
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(errno) => (-errno, Vec::new()),
        };
        let mut reply = Vec::with_capacity(16 + body.len());
        reply.extend(u32::try_from(16 + body.len()).expect("a short reply").to_ne_bytes());
        reply.extend(error.to_ne_bytes());
        reply.extend(&request[8..16]);
        reply.extend(body);
        // Whoever asked may be gone.
        let _ = device.write_all(&reply);
    }
}

/// The answer to a request: a body, an error, or none where none is awaited.
fn answer(request: &[u8], medium: &Mutex<Medium>) -> Option<Result<Vec<u8>, i32>> {
    let size = lock(medium).content.len() as u64;
    let body = &request[IN_HEADER..];
    Some(Ok(match u32_at(request, 4) {
        // FORGET, INTERRUPT, BATCH_FORGET
        2 | 36 | 42 => return None,
        // LOOKUP
        1 if body == [NAME.as_bytes(), &[0]].concat() => {
            [words(&[FILE, 0, FOR_EVER, FOR_EVER, 0]), attributes(FILE, size)].concat()
        }
        1 => return Some(Err(ENOENT)),
        // GETATTR
        3 => [words(&[FOR_EVER, 0]), attributes(u64_at(request, 16), size)].concat(),
        // OPEN, OPENDIR
        14 | 27 => vec![0; 16],
        // READ
        15 => {
            let (offset, size) = (u64_at(body, 8), u32_at(body, 16));
            let content = &lock(medium).content;
            content[range(content, offset, size as usize)].to_vec()
        }
        // WRITE
        16 => {
            let (offset, size) = (u64_at(body, 8), u32_at(body, 16));
            let data = &body[IN_TRANSFER..IN_TRANSFER + size as usize];
            let mut medium = lock(medium);
            apply(&mut medium.content, offset, data);
            medium.events.push(Event::Write(offset, data.to_vec()));
            [size.to_ne_bytes(), [0; 4]].concat()
        }
        // FSYNC
        20 => {
            lock(medium).events.push(Event::Flush);
            Vec::new()
        }
        // RELEASE, FLUSH, RELEASEDIR, DESTROY
        18 | 25 | 29 | 38 => Vec::new(),
        // INIT
        26 => init(),
        _ => return Some(Err(ENOSYS)),
    }))
}

/// `fuse_init_out`: version 7.31, writes as long as they may be, nothing else.
fn init() -> Vec<u8> {
    const BIG_WRITES: u32 = 1 << 5;
    let mut reply = Vec::new();
    let max_write = u32::try_from(MAX_WRITE).expect("a small number");
    // Of 16 bits each: most requests in the background, and when that is much.
    let background = 64 << 16 | 64;
    for number in [7, 31, 0, BIG_WRITES, background, max_write, 1] {
        reply.extend(number.to_ne_bytes());
    }
    reply.resize(64, 0);
    reply
}

/// `fuse_attr` of the file or of the root directory.
fn attributes(node: u64, size: u64) -> Vec<u8> {
    let (mode, size): (u32, u64) = if node == FILE { (0o100_600, size) } else { (0o40_700, 0) };
    let numbers: [u32; 10] = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0];
    let numbers = numbers.into_iter().flat_map(u32::to_ne_bytes).collect();
    [words(&[node, size, size / 512, 0, 0, 0]), numbers].concat()
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_ne_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"))
}

fn range(content: &[u8], offset: u64, size: usize) -> std::ops::Range<usize> {
    let begin = usize::try_from(offset).map_or(content.len(), |offset| offset.min(content.len()));
    begin..begin.saturating_add(size).min(content.len())
}

/// Writes to a disk; what is beyond its end is lost.
pub(super) fn apply(content: &mut [u8], offset: u64, data: &[u8]) {
    let range = range(content, offset, data.len());
    let length = range.len();
    content[range].copy_from_slice(&data[..length]);
}
