//! Stopping what goes on in other threads.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Error, Result};

/// Stops a [`Client`](crate::Client) from another thread: what it does fails with
/// [`Error::Interrupted`].
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<State>);

#[derive(Debug, Default)]
struct State {
    inner: Mutex<Inner>,
    stopped: Condvar,
}

#[derive(Default)]
struct Inner {
    stopped: bool,
    /// Whose connections end at once.
    agents: Vec<ureq::Agent>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("stopped", &self.stopped).finish_non_exhaustive()
    }
}

impl Stop {
    /// Stops, for good.
    pub fn stop(&self) {
        let mut inner = self.inner();
        inner.stopped = true;
        self.0.stopped.notify_all();
        for agent in inner.agents.drain(..) {
            agent.shutdown();
        }
    }

    /// Has the connections of `agent` end, too.
    pub(crate) fn include(&self, agent: &ureq::Agent) {
        self.inner().agents.push(agent.clone());
    }

    /// Fails if it is time to stop.
    pub(crate) fn check(&self) -> Result<()> {
        if self.inner().stopped { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Waits, unless it is time to stop.
    pub(crate) fn pause(&self, time: Duration) -> Result<()> {
        let waited = self.0.stopped.wait_timeout_while(self.inner(), time, |inner| !inner.stopped);
        drop(waited);
        self.check()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_woken_and_everything_later_fails() {
        let stop = Stop::default();
        stop.check().unwrap();
        stop.pause(Duration::ZERO).unwrap();
        let other = stop.clone();
        let waiting = std::thread::spawn(move || other.pause(Duration::from_hours(1)));
        stop.stop();
        assert!(matches!(waiting.join().unwrap(), Err(Error::Interrupted)));
        assert!(matches!(stop.check(), Err(Error::Interrupted)));
    }
}
