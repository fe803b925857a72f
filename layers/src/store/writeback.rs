//! Has the disk write while more is unpacked: to write all of it at the end takes as long as it took
//! to unpack it.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use crate::{
    error::{Error, Result},
    files,
};

/// After so many bytes of archives the disk is set to write what became of them.
const STEP: u64 = 8 << 20;

/// What of a directory is on its way to the disk.
#[derive(Debug)]
pub(super) struct Writeback {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes of archives since the disk was last set to it.
    read: u64,
    running: Option<JoinHandle<io::Result<()>>>,
    /// The kernel tells of what could not be written once.
    failed: Option<io::Error>,
}

impl Writeback {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), state: Mutex::default() }
    }

    /// Notes that an archive was read so much further.
    pub(super) fn note(&self, bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.read += bytes;
        // Elsewhere there is no one call that syncs all.
        let idle = state.running.as_ref().is_none_or(JoinHandle::is_finished);
        if cfg!(target_os = "linux") && state.read >= STEP && idle {
            state.end();
            state.read = 0;
            let dir = self.dir.clone();
            let sync = move || files::sync_file_system(&File::open(dir)?);
            state.running = thread::Builder::new().name("sync".to_owned()).spawn(sync).ok();
        }
    }

    /// Makes all that is in the directory durable.
    pub(super) fn finish(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.end();
        match state.failed.take() {
            Some(source) => Err(Error::io("sync", &self.dir)(source)),
            None => files::sync_tree(&self.dir),
        }
    }
}

impl State {
    fn end(&mut self) {
        let result = self.running.take().map(JoinHandle::join);
        if let Some(Ok(Err(error))) = result {
            self.failed.get_or_insert(error);
        }
    }
}
