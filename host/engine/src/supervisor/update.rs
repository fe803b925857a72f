//! Changing what the running guest may use up.

use std::sync::{Arc, Mutex};

use silo_isolation::{Error as BackendError, IsolationBackend, Limits, Sandbox};

use super::guest::{Guest, lock};
use crate::{Container, Error, Result, engine::changed, protocol::Reply, state::Containers};

/// The container's record, which this process writes as long as it holds its lock.
pub(super) struct Record {
    containers: Containers,
    container: Mutex<Container>,
    backend: Arc<dyn IsolationBackend>,
}

impl Record {
    pub(super) fn new(
        containers: Containers,
        container: Container,
        backend: Arc<dyn IsolationBackend>,
    ) -> Self {
        Self { containers, container: Mutex::new(container), backend }
    }

    /// Holds the guest to changed limits and writes them down. What cannot be written holds no
    /// longer.
    fn change(&self, sandbox: &dyn Sandbox, change: &Limits) -> Result<()> {
        let mut container = lock(&self.container);
        let changed = changed(&container, &*self.backend, change)?;
        let adjust = sandbox.limits().ok_or_else(|| Error::NotOffered {
            backend: container.backend.clone(),
            what: "change the limits of a container that runs",
        })?;
        adjust.adjust(&changed.bundle.limits)?;
        if let Err(error) = self.containers.save_limits(&changed.id, &changed.bundle.limits) {
            // The first failure is the one to tell.
            let _ = adjust.adjust(&container.bundle.limits);
            return Err(error);
        }
        *container = changed;
        Ok(())
    }
}

/// Answers the request. A guest that has ended is not answered for: its record is whoever's that
/// takes its lock.
pub(super) fn update(guest: &Guest, change: &Limits) -> Result<Option<Reply>> {
    // The sandbox is there until the record is written, and the lock held until the sandbox is not.
    match guest.with_sandbox(|sandbox| Ok(guest.record.change(sandbox, change))) {
        Ok(changed) => changed.map(|()| Some(Reply::Done)),
        Err(BackendError::WrongState { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
