//! From a user's options to a container on disk.

use std::{fs, sync::Arc};

use silo_isolation::{Bundle, IsolationBackend, MountKind, Signal};
use silo_layers::{Image, Pin};

use super::Engine;
use crate::{
    Container, CreateOptions, Error, ImageRecord, Result, bundle, names,
    options::DEFAULT_PIDS_LIMIT,
    route::Route,
    state::{Containers, Durability, Lock},
};

/// What a container is made of.
pub(super) struct Ingredients {
    pub(super) image: Image,
    pub(super) backend: Arc<dyn IsolationBackend>,
    /// Keeps the image until the container's record does.
    pub(super) _pin: Pin,
}

impl Engine {
    /// Creates a container. Nothing is left of one that cannot be created.
    pub fn create(&self, options: &CreateOptions) -> Result<Container> {
        let ingredients = self.gather(options)?;
        self.create_of(ingredients, names::random_id()?, options, Durability::Synced)
    }

    /// Finds what a container is made of.
    pub(super) fn gather(&self, options: &CreateOptions) -> Result<Ingredients> {
        if let Some(name) = &options.name {
            names::validate(name)?;
        }
        let route =
            Route::plan(&self.backends, options.platform.as_ref(), options.backend.as_deref())?;
        let pin = self.store.pin()?;
        let image = self.store.resolve(&options.image, &route.wanted)?;
        let backend = route.choose(&image.platform)?;
        Ok(Ingredients { image, backend, _pin: pin })
    }

    /// Creates the container of a new id.
    pub(super) fn create_of(
        &self,
        ingredients: Ingredients,
        id: String,
        options: &CreateOptions,
        durability: Durability,
    ) -> Result<Container> {
        let Ingredients { image, backend, _pin } = ingredients;
        let draft = Draft::new(&self.containers, id)?;
        let directory = self.containers.directory(&draft.id);
        let snapshot = self.store.snapshot(&image, &directory)?;
        let state_dir = self.containers.state_directory(&draft.id);
        let mut bundle = bundle::build(&image, options, &draft.id, snapshot, state_dir)?;
        if options.limits.pids.is_none() {
            limit_processes(&*backend, &mut bundle);
        }
        admit(&*backend, &bundle)?;
        make_host_directories(&bundle)?;
        let name = match &options.name {
            Some(name) => {
                self.containers.take_name(name, &draft.id, durability)?;
                name.clone()
            }
            None => self.containers.take_random_name(&draft.id, durability)?,
        };
        let container = Container {
            id: draft.id.clone(),
            name,
            created: jiff::Timestamp::now(),
            image: ImageRecord {
                name: options.image.clone(),
                manifest: image.digest,
                id: image.id,
                platform: image.platform.clone(),
            },
            backend: backend.name().to_owned(),
            interactive: options.interactive,
            auto_remove: options.auto_remove,
            stop_signal: stop_signal(options, &image)?,
            run: bundle::run_config(&image, options),
            bundle,
        };
        draft.publish(&container, durability)?;
        Ok(container)
    }
}

/// Sets the default limit where it can be had. Nobody asked for it: an unprivileged user to
/// whom no cgroup is delegated runs without.
fn limit_processes(backend: &dyn IsolationBackend, bundle: &mut Bundle) {
    let refused_before = backend.admit(bundle).len();
    bundle.limits.pids = Some(DEFAULT_PIDS_LIMIT);
    if backend.admit(bundle).len() > refused_before {
        bundle.limits.pids = None;
    }
}

/// Tells everything at once that the backend cannot honour.
pub(super) fn admit(backend: &dyn IsolationBackend, bundle: &Bundle) -> Result<()> {
    let refused = backend.admit(bundle);
    if refused.is_empty() {
        return Ok(());
    }
    Err(Error::Refused { backend: backend.name().to_owned(), refused })
}

/// Volumes' sources that do not exist become directories, as in Docker.
fn make_host_directories(bundle: &Bundle) -> Result<()> {
    for mount in &bundle.mounts {
        if let MountKind::Bind { source } = &mount.kind
            && !source.exists()
        {
            fs::create_dir_all(source).map_err(Error::file("create", source))?;
        }
    }
    Ok(())
}

fn stop_signal(options: &CreateOptions, image: &Image) -> Result<Signal> {
    if let Some(signal) = options.stop_signal {
        return Ok(signal);
    }
    let config = image.config.config().as_ref();
    let name = config.and_then(|config| config.stop_signal().as_deref()).unwrap_or_default();
    if name.is_empty() {
        return Ok(Signal::TERM);
    }
    let why = "the image's StopSignal is none";
    name.parse().map_err(|_| Error::invalid("signal", name, why))
}

/// A container's directory in the making, gone when it is dropped before it is published.
struct Draft<'a> {
    containers: &'a Containers,
    id: String,
    lock: Option<Lock>,
}

impl<'a> Draft<'a> {
    fn new(containers: &'a Containers, id: String) -> Result<Self> {
        let lock = Some(containers.add(&id)?);
        Ok(Self { containers, id, lock })
    }

    fn publish(mut self, container: &Container, durability: Durability) -> Result<()> {
        self.containers.publish(container, durability)?;
        self.lock = None;
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            // The error that led here is the one to tell; the next command removes the rest.
            let _ = self.containers.remove_damaged(&self.id, lock);
        }
    }
}
