//! Doing the same to several things at once.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use crate::{Error, Result};

/// How many blobs are under way at once, as with Docker. Each has buffers of its own.
const THREADS: usize = 3;

/// Does `work` to every item, in no order. After a failure nothing new begins, and the first that
/// failed is told.
pub(crate) fn each<T: Send>(items: Vec<T>, work: impl Fn(T) -> Result<()> + Sync) -> Result<()> {
    let threads = items.len().min(THREADS);
    let items = Mutex::new(items.into_iter());
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    let next = || {
        let failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_some() {
            return None;
        }
        drop(failed);
        items.lock().unwrap_or_else(PoisonError::into_inner).next()
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = next() {
                    if let Err(error) = work(item) {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn everything_is_done_once() {
        let sum = AtomicUsize::new(0);
        each((1..=100).collect(), |item| {
            sum.fetch_add(item, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
        assert_eq!(sum.into_inner(), 5050);
    }

    #[test]
    fn a_failure_is_told_and_keeps_the_rest_from_beginning() {
        let begun = AtomicUsize::new(0);
        let result = each((0..1000).collect(), |_: usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            Err(Error::Interrupted)
        });
        assert!(matches!(result, Err(Error::Interrupted)));
        assert!(begun.into_inner() <= THREADS);
    }
}
