//! Contents in pages, so that holes cost nothing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::super::{ErrorCode, Result};

const PAGE: usize = 4096;
/// Longest file, in bytes: what a signed 64-bit offset addresses.
const MAX_LEN: u64 = i64::MAX as u64;

/// What may still be stored, in bytes.
pub(super) struct Budget(AtomicU64);

impl Budget {
    pub(super) fn new(bytes: u64) -> Self {
        Self(AtomicU64::new(bytes))
    }

    pub(super) fn take(&self, bytes: u64) -> Result<()> {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
            .map(drop)
            .map_err(|_| ErrorCode::InsufficientSpace)
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A file's contents.
pub(super) struct Pages {
    by_number: BTreeMap<u64, Box<[u8; PAGE]>>,
    len: u64,
    budget: Arc<Budget>,
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.budget.give_back((self.by_number.len() * PAGE) as u64);
    }
}

/// The page that holds `offset`, where in it, and how much of `length` it holds.
fn place(offset: u64, length: usize) -> (u64, usize, usize) {
    let within = usize::try_from(offset % PAGE as u64).unwrap_or(0);
    (offset / PAGE as u64, within, length.min(PAGE - within))
}

impl Pages {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self { by_number: BTreeMap::new(), len: 0, budget }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let total = buffer.len().min(left);
        let mut done = 0;
        while done < total {
            let (page, within, count) = place(offset + done as u64, total - done);
            let target = &mut buffer[done..done + count];
            match self.by_number.get(&page) {
                Some(page) => target.copy_from_slice(&page[within..within + count]),
                None => target.fill(0),
            }
            done += count;
        }
        total
    }

    pub(super) fn write(&mut self, buffer: &[u8], offset: u64) -> Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|&end| end <= MAX_LEN);
        let end = end.ok_or(ErrorCode::FileTooLarge)?;
        let mut done = 0;
        while done < buffer.len() {
            let (page, within, count) = place(offset + done as u64, buffer.len() - done);
            if !self.by_number.contains_key(&page) {
                self.budget.take(PAGE as u64)?;
            }
            let page = self.by_number.entry(page).or_insert_with(|| Box::new([0; PAGE]));
            page[within..within + count].copy_from_slice(&buffer[done..done + count]);
            done += count;
        }
        if !buffer.is_empty() {
            self.len = self.len.max(end);
        }
        Ok(())
    }

    pub(super) fn set_len(&mut self, len: u64) -> Result<()> {
        if len > MAX_LEN {
            return Err(ErrorCode::FileTooLarge);
        }
        if len < self.len {
            let beyond = self.by_number.split_off(&len.div_ceil(PAGE as u64));
            self.budget.give_back((beyond.len() * PAGE) as u64);
            let (page, within, _) = place(len, 0);
            if let Some(page) = self.by_number.get_mut(&page) {
                page[within..].fill(0);
            }
        }
        self.len = len;
        Ok(())
    }
}
