//! Who wants a guest to stand still.

use silo_isolation::{Error as BackendError, Pause};

use super::guest::{Guest, lock};
use crate::{Error, Result, Status};

/// Writes down how a container fares whose guest has not ended.
pub(super) type Note = Box<dyn Fn(Status) -> Result<()> + Send>;

/// What a user can do where a guest cannot be paused by `commit`, and where by `pause`.
const WITHOUT: &str = "stop the container, or go on without by --pause=false";
const STOP: &str = "the container can be stopped";

/// Those who want it.
pub(super) struct Standstill {
    /// How many there are. A user who paused it is one.
    holders: u32,
    /// Whether a user paused it.
    is_paused: bool,
    /// `None` once the container's end is written.
    note: Option<Note>,
}

impl Standstill {
    pub(super) fn new(note: Note) -> Self {
        Self { holders: 0, is_paused: false, note: Some(note) }
    }

    fn note(&self, status: Status) -> Result<()> {
        self.note.as_ref().map_or(Ok(()), |note| note(status))
    }
}

impl Guest {
    /// Lets it stand still until [`release`](Self::release) was called as often.
    pub(super) fn hold(&self) -> Result<()> {
        self.freeze(&mut lock(&self.standstill), WITHOUT)
    }

    /// Lets it go on unless somebody else wants it to stand still. One that has ended is success.
    pub(super) fn release(&self) -> Result<(), BackendError> {
        self.thaw(&mut lock(&self.standstill))
    }

    /// Lets it stand still until it is unpaused, and notes that; says whether it was not paused.
    pub(super) fn pause(&self) -> Result<bool> {
        let mut standstill = lock(&self.standstill);
        if standstill.is_paused {
            return Ok(false);
        }
        self.freeze(&mut standstill, STOP)?;
        if let Err(error) = standstill.note(Status::Paused) {
            // It goes on, as its state says. What could not be written is what to tell.
            let _ = self.thaw(&mut standstill);
            return Err(error);
        }
        standstill.is_paused = true;
        Ok(true)
    }

    /// Ends a pause; says whether it was paused.
    pub(super) fn unpause(&self) -> Result<bool> {
        let mut standstill = lock(&self.standstill);
        if !standstill.is_paused {
            return Ok(false);
        }
        standstill.note(Status::Running)?;
        standstill.is_paused = false;
        self.thaw(&mut standstill)?;
        Ok(true)
    }

    /// Ends the pause of a guest that is asked to end, which it could not do.
    pub(super) fn wake(&self) -> Result<(), BackendError> {
        let mut standstill = lock(&self.standstill);
        if !standstill.is_paused {
            return Ok(());
        }
        // Its end is written next; a disk that is full now is no reason to leave it as it is.
        let _ = standstill.note(Status::Running);
        standstill.is_paused = false;
        self.thaw(&mut standstill)
    }

    /// Notes nothing more: the container's end is about to be written.
    pub(super) fn forget_pauses(&self) {
        lock(&self.standstill).note = None;
    }

    fn freeze(&self, standstill: &mut Standstill, instead: &'static str) -> Result<()> {
        if standstill.holders == 0 {
            self.with_sandbox(|sandbox| match sandbox.pause() {
                Some(pause) => pause.pause().map(Some),
                None => Ok(None),
            })?
            .ok_or(Error::NoPause { instead })?;
        }
        standstill.holders += 1;
        Ok(())
    }

    fn thaw(&self, standstill: &mut Standstill) -> Result<(), BackendError> {
        standstill.holders -= 1;
        if standstill.holders > 0 {
            return Ok(());
        }
        match self.with_sandbox(|sandbox| sandbox.pause().map_or(Ok(()), Pause::resume)) {
            Err(BackendError::WrongState { .. }) => Ok(()),
            other => other,
        }
    }
}
