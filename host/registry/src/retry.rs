//! Trying again what may pass.

use std::time::Duration;

use crate::{Result, stop::Stop};

/// How often something is tried again without any headway.
const RETRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A registry that asks for more patience is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Pauses between attempts, each twice as long as the one before.
pub(crate) struct Retries<'a> {
    stop: &'a Stop,
    left: u32,
    pause: Duration,
}

impl<'a> Retries<'a> {
    pub(crate) fn new(stop: &'a Stop) -> Self {
        Self { stop, left: RETRIES, pause: FIRST_PAUSE }
    }

    /// Waits before the next attempt, at least as long as was `asked` for. `false` when there have
    /// been enough.
    pub(crate) fn again(&mut self, asked: Option<Duration>) -> Result<bool> {
        self.stop.check()?;
        let pause = asked.unwrap_or_default().max(self.pause);
        if self.left == 0 || pause > LONGEST_PAUSE {
            return Ok(false);
        }
        self.left -= 1;
        self.pause *= 2;
        self.stop.pause(pause)?;
        Ok(true)
    }

    /// There was headway: what comes next begins anew.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.stop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn attempts_end_unless_there_is_headway() {
        let stop = Stop::default();
        let mut retries = Retries { pause: Duration::ZERO, ..Retries::new(&stop) };
        for _ in 0..RETRIES {
            assert!(retries.again(None).unwrap());
            retries.pause = Duration::ZERO;
        }
        assert!(!retries.again(None).unwrap());
        retries.reset();
        assert_eq!((retries.left, retries.pause), (RETRIES, FIRST_PAUSE));
    }

    #[test]
    fn too_long_a_wait_is_refused_and_a_stop_ends_all() {
        let stop = Stop::default();
        let mut retries = Retries::new(&stop);
        assert!(!retries.again(Some(Duration::from_hours(1))).unwrap());
        stop.stop();
        assert!(matches!(retries.again(None), Err(Error::Interrupted)));
    }
}
