//! Returns memory to the system after many clients have left at once.
//!
//! After 10,000 clients on one key, glibc kept a quarter of a gigabyte: it returns no freed memory that lies
//! between blocks in use. So it is asked to (`malloc_trim`) once most of many connections have ended. Other
//! allocators were tried instead: mimalloc kept 319 to 398 MiB, as it does nothing while it is idle; glibc
//! keeps 12 with this call (commit c94b06f, `docs/performance-log.md`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// A peak with fewer connections leaves too little memory behind.
const MIN_PEAK: usize = 1000;

/// Counts the open connections, and trims the heap once 99 of 100 have ended.
#[derive(Debug, Default)]
pub(super) struct HeapTrim {
    open: AtomicUsize,
    peak: AtomicUsize,
}

impl HeapTrim {
    /// Counts a connection as open until the returned guard is dropped.
    pub(super) fn count(self: &Arc<Self>) -> OpenConnection {
        self.opened();
        OpenConnection(Arc::clone(self))
    }

    fn opened(&self) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(open, Ordering::Relaxed);
    }

    /// Whether the peak is over with this connection. True once a peak.
    fn closed(&self) -> bool {
        let open = self.open.fetch_sub(1, Ordering::Relaxed) - 1;
        let peak = self.peak.load(Ordering::Relaxed);
        let is_over = peak >= MIN_PEAK && open < peak / 100;
        is_over && self.peak.compare_exchange(peak, open, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// A guard: its connection is counted as closed however it ends, by a panic too.
#[derive(Debug)]
pub(super) struct OpenConnection(Arc<HeapTrim>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if self.0.closed() {
            // Trimming takes some milliseconds, so another thread does it. Without one, the memory stays.
            let _ = thread::Builder::new().spawn(trim);
        }
    }
}

/// Does nothing with other allocators than glibc's: they return memory by themselves.
fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(
        unsafe_code,
        reason = "the one call of C; malloc_trim(3) takes a number and may be called at any time"
    )]
    // SAFETY: it has no preconditions, and is safe to call from any thread (malloc_trim(3), ATTRIBUTES).
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_counted_as_closed_by_a_panic_too() {
        let heap = Arc::new(HeapTrim::default());
        let _stays = heap.count();
        let goes = heap.count();
        std::panic::catch_unwind(move || {
            let _goes = goes;
            panic!("a fault, as this test wants it");
        })
        .expect_err("a panic");
        assert_eq!(heap.open.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_peak_is_over_once() {
        let heap = HeapTrim::default();
        (0..MIN_PEAK).for_each(|_| heap.opened());
        let over: Vec<_> = (0..MIN_PEAK).filter(|_| heap.closed()).collect();
        assert_eq!(over.len(), 1, "{over:?}");
        (0..10).for_each(|_| heap.opened());
        assert!((0..10).all(|_| !heap.closed()), "ten are too few");
    }
}
