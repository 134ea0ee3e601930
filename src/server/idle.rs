//! Whether a connection is silent, and for how long.
//!
//! hyper closes an HTTP/1 connection that is idle, by its own timer for the next head. It does nothing of
//! that kind before it knows the protocol, nor over HTTP/2. In these two cases the connection's task looks
//! here, once in each `limits.header_timeout`: it compares a count of events with the count that it saw
//! before.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use http::Version;

use crate::{http::guarded::BodyGuard, request::connection::Connection};

/// What has happened on one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests that began, and over HTTP/2 those that ended.
    events: AtomicUsize,
    /// Requests under way, over HTTP/2.
    active: AtomicUsize,
    is_http2: AtomicBool,
}

/// What a connection did in the time since the last look.
pub(super) enum Silence {
    /// Something happened.
    None,
    /// All requests were answered before, and none has come.
    BetweenRequests,
    /// No request has come since the connection was opened.
    NoRequest,
}

impl Activity {
    /// Counts a request. Over HTTP/2, it is under way until the returned guard is dropped.
    pub(super) fn begin_request(self: &Arc<Self>, version: Version) -> Option<ActiveRequest> {
        self.events.fetch_add(1, Ordering::Relaxed);
        (version == Version::HTTP_2).then(|| {
            self.is_http2.store(true, Ordering::Relaxed);
            self.active.fetch_add(1, Ordering::Relaxed);
            ActiveRequest(Arc::clone(self))
        })
    }

    pub(super) fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }

    /// Whether hyper has no timeout of its own for this connection.
    pub(super) fn is_watched(&self) -> bool {
        self.events.load(Ordering::Relaxed) == 0 || self.is_http2()
    }

    /// Compares the events so far with `seen`, the number at the last look, and updates that.
    pub(super) fn silence_since(&self, seen: &mut usize) -> Silence {
        let events = self.events.load(Ordering::Relaxed);
        let before = std::mem::replace(seen, events);
        if events == 0 {
            Silence::NoRequest
        } else if before == events && self.active.load(Ordering::Relaxed) == 0 {
            Silence::BetweenRequests
        } else {
            Silence::None
        }
    }
}

/// An HTTP/2 request that is under way until its response's body is dropped.
#[derive(Debug)]
pub(super) struct ActiveRequest(Arc<Activity>);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.events.fetch_add(1, Ordering::Relaxed);
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reports to the connection, once dropped, that a response has been made.
#[derive(Debug)]
pub(super) struct AnswerGuard(pub(super) Arc<Connection>);

impl Drop for AnswerGuard {
    fn drop(&mut self) {
        self.0.half_close.answered();
    }
}

/// What ends with a response's body.
#[derive(Debug)]
pub(super) struct ResponseGuard {
    pub(super) _active: Option<ActiveRequest>,
    pub(super) _answered: Option<AnswerGuard>,
}

impl BodyGuard for ResponseGuard {}
