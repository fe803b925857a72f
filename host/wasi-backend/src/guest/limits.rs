//! How much memory a guest may have.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use wasmtime::ResourceLimiter;

/// What a table's element takes on the host, in bytes.
const ELEMENT: u64 = size_of::<usize>() as u64;
/// Instances, memories and tables that a guest may have; a component of many modules has
/// some tens.
const MAX_OBJECTS: usize = 1000;

/// Counts a guest's memories and tables, and keeps them within a limit.
pub(crate) struct Memory {
    /// In bytes.
    limit: u64,
    usage: Arc<Usage>,
    /// What the growth that is under way would add, in bytes.
    growing: u64,
    /// What this instance has, in bytes.
    used: u64,
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.usage.bytes.fetch_sub(self.used, Ordering::Relaxed);
    }
}

/// What a guest uses, seen from other threads.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    bytes: AtomicU64,
    denied: AtomicBool,
}

impl Usage {
    /// In bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the guest was refused memory.
    pub(crate) fn was_denied(&self) -> bool {
        self.denied.load(Ordering::Relaxed)
    }
}

impl Memory {
    pub(crate) fn new(limit: Option<u64>, usage: &Arc<Usage>) -> Self {
        Self { limit: limit.unwrap_or(u64::MAX), usage: Arc::clone(usage), growing: 0, used: 0 }
    }

    fn grow(&mut self, current: usize, desired: usize, unit: u64) -> bool {
        let wanted = (desired.saturating_sub(current) as u64).saturating_mul(unit);
        let within = |used: u64| used.checked_add(wanted).filter(|total| *total <= self.limit);
        let allowed =
            self.usage.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok();
        if allowed {
            self.growing = wanted;
            self.used += wanted;
        } else {
            self.usage.denied.store(true, Ordering::Relaxed);
        }
        allowed
    }

    /// What another instance of the same guest may use: all of them together are held to the limit.
    pub(crate) fn another(&self) -> Self {
        Self { limit: self.limit, usage: Arc::clone(&self.usage), growing: 0, used: 0 }
    }

    fn failed(&mut self) {
        let wanted = std::mem::take(&mut self.growing);
        self.used -= wanted;
        self.usage.bytes.fetch_sub(wanted, Ordering::Relaxed);
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum) && self.grow(current, desired, 1))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum) && self.grow(current, desired, ELEMENT))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed();
        Ok(())
    }

    fn instances(&self) -> usize {
        MAX_OBJECTS
    }

    fn tables(&self) -> usize {
        MAX_OBJECTS
    }

    fn memories(&self) -> usize {
        MAX_OBJECTS
    }
}
