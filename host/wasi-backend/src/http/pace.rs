//! A share of the processors for many instances together.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How much may be used at once after a rest, as in Linux's `cpu.max`.
const BURST: Duration = Duration::from_millis(100);

/// Deals out processor time.
pub(super) struct Pace {
    /// Processors.
    share: f64,
    since: Mutex<Since>,
}

struct Since {
    at: Instant,
    /// What had been used then.
    used: Duration,
}

impl Pace {
    pub(super) fn new(nano_cpus: u64) -> Self {
        let since = Since { at: Instant::now(), used: Duration::ZERO };
        Self {
            share: Duration::from_nanos(nano_cpus.max(1)).as_secs_f64(),
            since: Mutex::new(since),
        }
    }

    /// How long whoever asks has to wait, after all together have used `used`.
    pub(super) fn wait(&self, used: Duration) -> Option<Duration> {
        self.wait_at(Instant::now(), used)
    }

    fn wait_at(&self, now: Instant, used: Duration) -> Option<Duration> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let granted = now.saturating_duration_since(since.at).mul_f64(self.share);
        let spent = used.saturating_sub(since.used);
        if granted > spent + BURST {
            // What was left unused is not kept for later.
            *since = Since { at: now, used };
            return None;
        }
        let debt = spent.saturating_sub(granted + BURST.mul_f64(self.share));
        (!debt.is_zero()).then(|| debt.div_f64(self.share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_uses_more_than_the_share_waits_until_it_is_kept() {
        let pace = Pace::new(500_000_000);
        let start = pace.since.lock().unwrap().at;
        let ms = Duration::from_millis;
        assert_eq!(pace.wait_at(start, ms(50)), None);
        assert_eq!(pace.wait_at(start + ms(100), ms(100)), None);
        assert_eq!(pace.wait_at(start + ms(100), ms(150)), Some(ms(100)));
        assert_eq!(pace.wait_at(start + ms(200), ms(150)), None);
    }

    #[test]
    fn rest_is_not_saved_up() {
        let pace = Pace::new(2_000_000_000);
        let start = pace.since.lock().unwrap().at;
        let later = start + Duration::from_mins(1);
        assert_eq!(pace.wait_at(later, Duration::from_millis(1)), None);
        assert!(pace.wait_at(later, Duration::from_secs(1)).is_some());
    }
}
