//! Changing what containers may use up.

use silo_isolation::{IsolationBackend, Limits};

use super::{Engine, create};
use crate::{
    Container, Error, Result, Status,
    protocol::{Reply, Request},
    state::{Lock, Probe, short},
};

impl Engine {
    /// Puts the limits that `change` has in the place of a container's own, at once where it runs.
    /// On failure all stay as they were.
    pub fn update(&self, query: &str, change: &Limits) -> Result<()> {
        let summary = self.inspect(query)?;
        let id = &summary.container.id;
        let is_running = matches!(summary.state.status, Status::Running | Status::Paused);
        if is_running && let Some(mut connection) = self.connect(id)? {
            match connection.ask(&Request::Update(Box::new(change.clone())))? {
                Some(Reply::Failed(failure)) => return Err(failure.into()),
                Some(_) => return Ok(()),
                // It has ended first.
                None => {}
            }
        }
        let path = self.containers.lock_path(id);
        let lock = match Lock::try_take(&path)? {
            Probe::Taken(lock) => Some(lock),
            Probe::Held if is_running => Lock::wait(&path)?,
            Probe::Held => return Err(Error::Busy(summary.container.name)),
            Probe::Absent => None,
        };
        let Some(_lock) = lock else { return Err(Error::NotFound(short(id).to_owned())) };
        let container = self.containers.load(id)?;
        let backend = crate::backend(&self.backends, &container.backend)?;
        let changed = changed(&container, &*backend, change)?;
        self.containers.save_limits(id, &changed.bundle.limits)
    }
}

/// `container` with the limits of `change`, if its backend can hold them.
pub(crate) fn changed(
    container: &Container,
    backend: &dyn IsolationBackend,
    change: &Limits,
) -> Result<Container> {
    let mut changed = container.clone();
    changed.bundle.limits = container.bundle.limits.changed_by(change);
    create::admit(backend, &changed.bundle)?;
    Ok(changed)
}
