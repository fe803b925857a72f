//! Ending a guest, pacing it and measuring its time, from other threads.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use cpu_time::ThreadTime;
use silo_isolation::Signal;
use tokio::sync::watch;
use wasmtime::UpdateDeadline;

/// Over which a share of a core is measured, as in Linux's `cpu.max`.
const PERIOD: Duration = Duration::from_millis(100);

/// What other threads and a guest's thread tell each other.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// The number of the signal that ends the guest; 0 while there is none.
    signal: AtomicU8,
    /// Wakes who waits for any of this to change.
    changed: watch::Sender<()>,
    /// Processor time that the guest has used, in nanoseconds, when it was last measured.
    cpu_nanos: AtomicU64,
    /// How many threads run the guest rather than wait.
    running: AtomicUsize,
    /// Whether the guest is to stand still.
    paused: AtomicBool,
    /// Whether it can be asked to end: [`ASKABLE`], then [`ASKED`].
    ending: AtomicU8,
}

/// The guest answers requests, and can stop taking more.
const ASKABLE: u8 = 1;
/// It is to take no more.
const ASKED: u8 = 2;

impl Control {
    /// Ends the guest. The first signal counts. The epoch must be incremented after this.
    pub(crate) fn end(&self, signal: Signal) {
        let _ =
            self.signal.compare_exchange(0, signal.number(), Ordering::SeqCst, Ordering::SeqCst);
        self.tell();
    }

    /// The signal that ends the guest.
    pub(crate) fn signal(&self) -> Option<Signal> {
        Signal::from_number(self.signal.load(Ordering::SeqCst)).ok()
    }

    /// Returns when there is a signal.
    pub(crate) async fn signalled(&self) -> Signal {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(signal) = self.signal() {
                return signal;
            }
            // The sender is this.
            let _ = changed.changed().await;
        }
    }

    /// Has [`ask_to_end`](Self::ask_to_end) mean something: the guest is one that answers requests.
    pub(crate) fn can_be_asked(&self) {
        self.ending.store(ASKABLE, Ordering::SeqCst);
    }

    /// Asks the guest to finish what it does and end. Whether it will.
    pub(crate) fn ask_to_end(&self) -> bool {
        let asked = match self.ending.compare_exchange(
            ASKABLE,
            ASKED,
            Ordering::SeqCst,
            Ordering::SeqCst,
        ) {
            Ok(_) => true,
            Err(before) => before == ASKED,
        };
        self.tell();
        asked
    }

    /// Returns when it was asked.
    pub(crate) async fn asked_to_end(&self) {
        let mut changed = self.changed.subscribe();
        while self.ending.load(Ordering::SeqCst) != ASKED {
            let _ = changed.changed().await;
        }
    }

    fn tell(&self) {
        self.changed.send_replace(());
    }

    /// Has the guest stand still from its next look at the epoch on, which must be incremented
    /// after this.
    pub(crate) fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
    }

    /// Lets the guest go on.
    pub(crate) fn resume(&self) {
        self.paused.store(false, Ordering::SeqCst);
        self.tell();
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }

    /// Returns when the guest may run.
    pub(crate) async fn resumed(&self) {
        let mut changed = self.changed.subscribe();
        while self.is_paused() {
            let _ = changed.changed().await;
        }
    }

    /// Does `call`, which `poll` polls, and not while the guest is to stand still.
    pub(crate) async fn hold<F: Future>(
        &self,
        call: F,
        poll: impl Fn(Pin<&mut F>, &mut Context<'_>) -> Poll<F::Output>,
    ) -> F::Output {
        let mut call = pin!(call);
        let mut resumed = pin!(None);
        poll_fn(|context| {
            if self.is_paused() {
                resumed.set(Some(self.resumed()));
            }
            if let Some(waiting) = resumed.as_mut().as_pin_mut() {
                if waiting.poll(context).is_pending() {
                    return Poll::Pending;
                }
                resumed.set(None);
            }
            poll(call.as_mut(), context)
        })
        .await
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
        self.running.store(running.into(), Ordering::Relaxed);
    }

    /// Polls what one of several threads does for the guest, and counts that thread's time as the guest's.
    pub(crate) fn run<T>(&self, poll: impl FnOnce() -> T) -> T {
        let now = || ThreadTime::try_now().map_or(Duration::ZERO, |time| time.as_duration());
        self.running.fetch_add(1, Ordering::Relaxed);
        let before = now();
        let polled = poll();
        let used = now().saturating_sub(before).as_nanos();
        self.cpu_nanos.fetch_add(u64::try_from(used).unwrap_or_default(), Ordering::Relaxed);
        self.running.fetch_sub(1, Ordering::Relaxed);
        polled
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
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
