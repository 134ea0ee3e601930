//! Clients that close their half of the connection while they wait for the answer.
//!
//! hyper takes the end of what a client sends as a sign that the client has left, and drops the request as
//! soon as it sees that. This is right while the upstream is asked: a client that left needs no answer. But
//! an answer that is here already goes to the client all the same. So while a request is answered from here,
//! the end is held back.

use std::{
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
    task::{Context, Waker},
};

use parking_lot::Mutex;

/// A request is being answered from here.
const HOLDS: u8 = 1;
/// The end has come and is held back.
const HELD: u8 = 2;
/// The response is made, and only has to be written.
const ANSWERED: u8 = 4;

/// The connection is not HTTP/1 (any more): it never lingers.
const NEVER_LINGERS: u8 = 1;
/// The connection lingers: only the client's end is waited for.
const LINGERS: u8 = 2;
/// The listener stops: the connection lingers no longer than it must.
const STOPPING: u8 = 4;

/// Whether the end of what a client sends is held back, and whether the connection lingers when it is closed.
///
/// Over HTTP/1, one task has the connection, its requests and their handlers, and it alone changes `state`. The body of
/// a request may be dropped in another task, so `unread` names the request.
#[derive(Debug, Default)]
pub(crate) struct HalfClose {
    state: AtomicU8,
    reader: Mutex<Option<Waker>>,
    linger: AtomicU8,
    /// The number of the last request, from 1.
    request: AtomicU32,
    /// The request whose body was not read to its end; 0 if there is none.
    unread: AtomicU32,
}

impl HalfClose {
    /// An HTTP/1 request has come: holds the end back from now on. Returns the request's number.
    pub(crate) fn begin(&self) -> u32 {
        self.state.store(HOLDS, Ordering::Relaxed);
        self.request.fetch_add(1, Ordering::Relaxed) + 1
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

    /// Nobody will read the rest of the body of the request with this number.
    pub(crate) fn leave_unread(&self, request: u32) {
        self.unread.store(request, Ordering::Relaxed);
    }

    /// Whether nobody reads the rest of the last request's body.
    pub(crate) fn has_unread_body(&self) -> bool {
        let unread = self.unread.load(Ordering::Relaxed);
        unread != 0 && unread == self.request.load(Ordering::Relaxed)
    }

    /// Whether the last request was read whole, and its response made.
    pub(crate) fn is_answered(&self) -> bool {
        self.state.load(Ordering::Relaxed) & ANSWERED != 0 && !self.has_unread_body()
    }

    /// Closes without lingering from now on: over HTTP/2, where only streams end early, and once another protocol has
    /// the connection, whose bytes must not be dropped.
    pub(crate) fn never_linger(&self) {
        self.linger.fetch_or(NEVER_LINGERS, Ordering::Relaxed);
    }

    /// Notes that the connection lingers, if it may.
    pub(crate) fn begin_lingering(&self) -> bool {
        self.linger.fetch_or(LINGERS, Ordering::Relaxed) & NEVER_LINGERS == 0
    }

    pub(crate) fn is_lingering(&self) -> bool {
        self.linger.load(Ordering::Relaxed) & LINGERS != 0
    }

    /// Lingers no longer than it must from now on.
    pub(crate) fn stop(&self) {
        self.linger.fetch_or(STOPPING, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.linger.load(Ordering::Relaxed) & STOPPING != 0
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
        self.state.store(0, Ordering::Relaxed);
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
