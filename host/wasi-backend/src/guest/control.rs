//! Ending a guest, pacing it and measuring its time, from other threads.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use cpu_time::ThreadTime;
use silo_isolation::Signal;
use tokio::sync::Notify;
use wasmtime::UpdateDeadline;

/// Over which a share of a core is measured, as in Linux's `cpu.max`.
const PERIOD: Duration = Duration::from_millis(100);

/// What other threads and a guest's thread tell each other.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// The number of the signal that ends the guest; 0 while there is none.
    signal: AtomicU8,
    signalled: Notify,
    /// Processor time that the guest has used, in nanoseconds, when it was last measured.
    cpu_nanos: AtomicU64,
    /// Whether the guest's thread runs rather than waits.
    running: AtomicBool,
    /// Whether the guest is to stand still.
    paused: AtomicBool,
    resumed: Notify,
}

impl Control {
    /// Ends the guest. The first signal counts. The epoch must be incremented after this.
    pub(crate) fn end(&self, signal: Signal) {
        let _ =
            self.signal.compare_exchange(0, signal.number(), Ordering::SeqCst, Ordering::SeqCst);
        self.signalled.notify_one();
    }

    /// The signal that ends the guest.
    pub(crate) fn signal(&self) -> Option<Signal> {
        Signal::from_number(self.signal.load(Ordering::SeqCst)).ok()
    }

    /// Returns when there is a signal.
    pub(crate) async fn signalled(&self) -> Signal {
        loop {
            if let Some(signal) = self.signal() {
                return signal;
            }
            self.signalled.notified().await;
        }
    }

    /// Has the guest stand still from its next look at the epoch on, which must be incremented
    /// after this.
    pub(crate) fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
    }

    /// Lets the guest go on.
    pub(crate) fn resume(&self) {
        self.paused.store(false, Ordering::SeqCst);
        self.resumed.notify_one();
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }

    /// Returns when the guest may run.
    pub(crate) async fn resumed(&self) {
        while self.is_paused() {
            self.resumed.notified().await;
        }
    }

    /// Measures on the guest's thread, whose time is all the guest's.
    pub(crate) fn measure(&self) -> Duration {
        let used = ThreadTime::try_now().map_or(Duration::ZERO, |time| time.as_duration());
        let nanos = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        self.cpu_nanos.store(nanos, Ordering::Relaxed);
        used
    }

    /// Tells whether the guest's thread runs or waits.
    pub(crate) fn set_running(&self, running: bool) {
        self.measure();
        self.running.store(running, Ordering::Relaxed);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    /// As last measured.
    pub(crate) fn cpu_nanos(&self) -> u64 {
        self.cpu_nanos.load(Ordering::Relaxed)
    }
}

/// Holds a guest to a share of a core.
pub(crate) struct Pace {
    /// Processor time in a period.
    budget: Duration,
    since: Instant,
    /// Processor time used when the period began.
    used: Duration,
}

impl Pace {
    /// `None` when `nano_cpus` is no limit for one thread.
    pub(crate) fn new(nano_cpus: Option<u64>) -> Option<Self> {
        let nano_cpus = nano_cpus.filter(|&share| share < 1_000_000_000)?;
        let budget = Duration::from_nanos(nano_cpus / 1_000_000_000_u64.div_euclid(100_000_000));
        Some(Self { budget, since: Instant::now(), used: Duration::ZERO })
    }

    /// What the guest has to do after it used `used` in all.
    pub(crate) fn update(&mut self, used: Duration) -> UpdateDeadline {
        let over = used.saturating_sub(self.used).saturating_sub(self.budget);
        let elapsed = self.since.elapsed();
        if over.is_zero() && elapsed < PERIOD {
            return UpdateDeadline::Continue(1);
        }
        let debt = PERIOD.mul_f64(over.as_secs_f64() / self.budget.as_secs_f64().max(1e-9));
        let pause = PERIOD.saturating_sub(elapsed) + debt;
        self.used = used;
        self.since = Instant::now() + pause;
        if over.is_zero() {
            self.since = Instant::now();
            return UpdateDeadline::Continue(1);
        }
        UpdateDeadline::YieldCustom(1, Box::pin(tokio::time::sleep(pause)))
    }
}
