//! Clients that have sent all they want to, and close their own half of the connection while they wait for the answer.
//!
//! The HTTP server takes the end of what a client sends for the client's leaving, and drops the request at whatever
//! moment it sees it. That is right where the answer is asked of the upstream, which a client that left needs no more.
//! What is there already goes to it all the same: while a request is answered from here, the end is held back.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    task::{Context, Waker},
};

use parking_lot::Mutex;

/// A request is being answered from here.
const HOLDS: u8 = 1;
/// The end has come, and was held back.
const HELD: u8 = 2;
/// The response has been made, and needs only be written.
const ANSWERED: u8 = 4;
/// The request's body was not read to its end.
const ABANDONED: u8 = 8;

/// Whether the end of what a client sends is held back. Over HTTP/1 a connection, its requests and their handlers are
/// one task, which alone changes it.
#[derive(Debug, Default)]
pub struct HalfClose {
    state: AtomicU8,
    reader: Mutex<Option<Waker>>,
}

impl HalfClose {
    /// A request has come: from now on the end is held back.
    pub(crate) fn begin(&self) {
        self.state.store(HOLDS, Ordering::Relaxed);
    }

    /// The answer must be waited for elsewhere: who leaves is let go.
    pub(crate) fn waits_elsewhere(&self) {
        self.release(0);
    }

    /// More of the request's body is needed. Where the end has come already, there is none.
    pub(crate) fn needs_more(&self) {
        self.release(HELD);
    }

    /// The response has been made.
    pub(crate) fn answered(&self) {
        self.state.fetch_or(ANSWERED, Ordering::Relaxed);
    }

    /// The rest of the request's body is read by nobody.
    pub(crate) fn abandon(&self) {
        self.state.fetch_or(ABANDONED, Ordering::Relaxed);
    }

    /// Whether nobody reads the rest of the last request's body.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.state.load(Ordering::Relaxed) & ABANDONED != 0
    }

    /// Whether the last request was read whole, and its response made.
    pub(crate) fn is_answered(&self) -> bool {
        self.state.load(Ordering::Relaxed) & (ANSWERED | ABANDONED) == ANSWERED
    }

    /// All that was to be written is.
    pub(crate) fn flushed(&self) {
        self.release(ANSWERED);
    }

    /// Holds nothing back from now on, if all of `needed` is so.
    fn release(&self, needed: u8) {
        let state = self.state.load(Ordering::Relaxed);
        if state & HOLDS == 0 || state & needed != needed {
            return;
        }
        self.state.store(state & ABANDONED, Ordering::Relaxed);
        if state & HELD != 0
            && let Some(reader) = self.reader.lock().take()
        {
            reader.wake();
        }
    }

    /// Whether the end, which has come, is held back; `cx` is woken once it is not.
    pub(crate) fn holds_back(&self, cx: &Context<'_>) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        if state & HOLDS == 0 {
            return false;
        }
        self.state.store(state | HELD, Ordering::Relaxed);
        *self.reader.lock() = Some(cx.waker().clone());
        true
    }
}

/// Whose [`HalfClose`] counts.
pub trait HasHalfClose {
    /// Its state.
    fn half_close(&self) -> &HalfClose;
}
