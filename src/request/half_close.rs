//! Clients that close their half of the connection while they wait for the answer.
//!
//! hyper takes the end of what a client sends as a sign that the client has left, and drops the request as
//! soon as it sees that. This is right while the upstream is asked: a client that left needs no answer. But
//! an answer that is here already goes to the client all the same. So while a request is answered from here,
//! the end is held back.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    task::{Context, Waker},
};

use parking_lot::Mutex;

/// A request is being answered from here.
const HOLDS: u8 = 1;
/// The end has come and is held back.
const HELD: u8 = 2;
/// The response is made, and only has to be written.
const ANSWERED: u8 = 4;
/// The request's body was not read to its end.
const ABANDONED: u8 = 8;

/// Whether the end of what a client sends is held back. Over HTTP/1, only the one task of the connection, its
/// requests and their handlers changes this.
#[derive(Debug, Default)]
pub(crate) struct HalfClose {
    state: AtomicU8,
    reader: Mutex<Option<Waker>>,
}

impl HalfClose {
    /// A request has come: holds the end back from now on.
    pub(crate) fn begin(&self) {
        self.state.store(HOLDS, Ordering::Relaxed);
    }

    /// The answer comes from elsewhere: a client that leaves is let go.
    pub(crate) fn waits_elsewhere(&self) {
        self.release(0);
    }

    /// More of the request's body is needed. If the end has come already, there is no more.
    pub(crate) fn needs_more(&self) {
        self.release(HELD);
    }

    pub(crate) fn answered(&self) {
        self.state.fetch_or(ANSWERED, Ordering::Relaxed);
    }

    /// Nobody will read the rest of the request's body.
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

    /// Everything is written.
    pub(crate) fn flushed(&self) {
        self.release(ANSWERED);
    }

    /// Holds nothing back from now on, if the state has all of `needed`.
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

    /// Whether the end, which has come, is held back. If so, `cx` is woken when it is released.
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

pub(crate) trait HasHalfClose {
    fn half_close(&self) -> &HalfClose;
}
