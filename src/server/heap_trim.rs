//! Memory that a crowd of clients used, given back to the system once it has gone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// A crowd smaller than this leaves too little behind to care.
const CROWD: usize = 1000;

/// Watches how many connections are open.
#[derive(Debug, Default)]
pub struct HeapTrim {
    open: AtomicUsize,
    most: AtomicUsize,
}

impl HeapTrim {
    /// One more connection is open, until what this gives is dropped.
    pub fn join(self: &Arc<Self>) -> Member {
        self.enter();
        Member(Arc::clone(self))
    }

    fn enter(&self) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(open, Ordering::Relaxed);
    }

    /// One has ended; whether a crowd has gone with it, of which it was among the last.
    fn leave(&self) -> bool {
        let open = self.open.fetch_sub(1, Ordering::Relaxed) - 1;
        let most = self.most.load(Ordering::Relaxed);
        let gone = most >= CROWD && open < most / 100;
        gone && self.most.compare_exchange(most, open, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// One of a crowd. It is counted out however its connection ends, by a panic too.
#[derive(Debug)]
pub struct Member(Arc<HeapTrim>);

impl Drop for Member {
    fn drop(&mut self) {
        if self.0.leave() {
            // A thread that cannot be had leaves the memory where it is.
            let _ = thread::Builder::new().spawn(give_back);
        }
    }
}

/// Has the allocator give unused memory back. glibc keeps what was freed between things that are still in use, for
/// good; other allocators return it by themselves. May take some milliseconds.
fn give_back() {
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
    fn a_member_is_counted_out_by_a_panic_too() {
        let crowd = Arc::new(HeapTrim::default());
        let _stays = crowd.join();
        let goes = crowd.join();
        std::panic::catch_unwind(move || {
            let _goes = goes;
            panic!("a fault, as this test wants it");
        })
        .expect_err("a panic");
        assert_eq!(crowd.open.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_crowd_is_gone_once() {
        let crowd = HeapTrim::default();
        (0..CROWD).for_each(|_| crowd.enter());
        let told: Vec<_> = (0..CROWD).filter(|_| crowd.leave()).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        (0..10).for_each(|_| crowd.enter());
        assert!((0..10).all(|_| !crowd.leave()), "ten are no crowd");
    }
}
