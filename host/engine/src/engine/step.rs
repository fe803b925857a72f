//! Containers that live no longer than who started them: the steps of a build.

use std::io::{PipeWriter, Write};

use silo_isolation::Exit;
use silo_layers::{Image, Omitted, Snapshot};

use super::{Engine, create::Ingredients, files};
use crate::{
    Control, CreateOptions, Result, Session, client, names, route::Route, state::Durability,
};

/// A guest that ends with this, and whose files stay until then. Whoever holds it may be killed: the
/// container goes all the same.
#[derive(Debug)]
pub struct BoundSession {
    session: Session,
    snapshot: Snapshot,
    omitted: Omitted,
    bond: Option<PipeWriter>,
}

impl Engine {
    /// Creates a container of an image that the store need not have, and starts it; its layers are the
    /// caller's to keep. `options` name the image for people.
    pub fn run_bound(&self, image: &Image, options: &CreateOptions) -> Result<BoundSession> {
        let route = Route::plan(&self.backends, Some(&image.platform), None)?;
        let backend = route.choose(&image.platform)?;
        let ingredients = Ingredients { image: image.clone(), backend, _pin: self.store.pin()? };
        let options = CreateOptions { auto_remove: true, ..options.clone() };
        let id = names::random_id()?;
        let backend = ingredients.backend.name();
        let supervisor = client::supervisor(&*self.launch, &self.containers, &id, backend)?;
        let container = self.create_of(ingredients, id, &options, Durability::Volatile)?;
        let (session, bond) =
            supervisor.start_bound().inspect_err(|_| self.clear(&container.id))?;
        let omitted = files::omitted(&container);
        let snapshot = container.bundle.root.snapshot;
        Ok(BoundSession { session, snapshot, omitted, bond: Some(bond) })
    }
}

impl BoundSession {
    /// What can be done to the guest meanwhile.
    #[must_use]
    pub fn control(&self) -> Control {
        self.session.control()
    }

    /// Copies the guest's output until it has ended and nothing of it is mounted any more.
    pub fn follow(&mut self, stdout: &mut dyn Write, stderr: &mut dyn Write) -> Result<Exit> {
        self.session.follow(stdout, stderr)
    }

    /// The files of a guest that has ended.
    #[must_use]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What of its upper is no change of the guest's.
    #[must_use]
    pub const fn omitted(&self) -> &Omitted {
        &self.omitted
    }
}

impl Drop for BoundSession {
    fn drop(&mut self) {
        self.bond = None;
        self.session.reap();
    }
}
