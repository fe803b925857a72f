//! What a build is asked for, and how it tells what it does.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use silo_engine::Control;
use silo_isolation::{Network, Signal};
use silo_layers::{Platform, Reference};

use crate::{Error, Result, parse::Source};

/// What to build, and of what.
#[derive(Clone, Debug)]
pub struct Input {
    /// The Dockerfile.
    pub dockerfile: Source,
    /// The directory that files are copied from.
    pub context: Option<PathBuf>,
    /// The `.dockerignore` that holds, if there is one.
    pub ignore: Option<Source>,
}

/// What a build is asked for. The default asks for nothing beyond the Dockerfile.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// `-t`: names of the image, which others lose.
    pub names: Vec<Reference>,
    /// `--target`: the stage that is wanted; the last by default.
    pub target: Option<String>,
    /// `--build-arg`, by name.
    pub arguments: BTreeMap<String, String>,
    /// `--label`, by name.
    pub labels: BTreeMap<String, String>,
    /// `--no-cache`: every step is carried out.
    pub no_cache: bool,
    /// `--pull`: images are fetched though they are here.
    pub pull: bool,
    /// `--platform`; several make an index.
    pub platforms: Vec<Platform>,
    /// `--network`: what commands see of the network.
    pub network: Network,
    /// `SOURCE_DATE_EPOCH`: when all was made, and the latest that a file says it was changed.
    pub epoch: Option<SystemTime>,
}

/// What was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built {
    /// The digest of the manifest, or of the index of several.
    pub digest: silo_layers::Digest,
    /// The image's id; the digest of an index.
    pub id: silo_layers::Digest,
}

/// What happens during a build.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A step begins.
    Started {
        /// Which it is, from 1.
        number: usize,
        /// How many there are, as far as is known.
        total: usize,
        /// The instruction.
        text: &'a str,
    },
    /// Another build carries out the same step, which is waited for.
    Waiting,
    /// What a command wrote.
    Output(&'a [u8]),
    /// The step that began last is done.
    Finished {
        /// Whether it had been carried out before.
        cached: bool,
        /// How long it took.
        took: Duration,
    },
    /// Something that may not be meant so.
    Warning(&'a str),
}

/// Why an image could not be had.
#[derive(Debug)]
pub struct Unprovided {
    /// Why.
    pub source: Box<dyn std::error::Error + Send + Sync>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What a build needs of its surroundings.
pub trait Host: Sync {
    /// Sees to it that the image `name` is in the store for one of these platforms, the first that
    /// there is one for; `pull` has it fetched though it is.
    fn provide(&self, name: &str, platforms: &[Platform], pull: bool) -> Result<(), Unprovided>;

    /// Hears what happens.
    fn tell(&self, event: Event<'_>);
}

/// Stops a build from another thread: it fails with [`Error::Interrupted`].
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Stopping>);

#[derive(Debug, Default)]
struct Stopping {
    stopped: AtomicBool,
    running: Mutex<Option<Control>>,
}

impl Stop {
    /// Stops, for good.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        self.kill();
    }

    fn kill(&self) {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(control) = running {
            // One that cannot be reached has ended.
            let _ = control.signal(Signal::KILL);
        }
    }

    /// Whether it is time to stop.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.stopped.load(Ordering::SeqCst) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Notes what runs.
    pub(crate) fn runs(&self, control: Option<Control>) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) = control;
        if self.check().is_err() {
            self.kill();
        }
    }
}
