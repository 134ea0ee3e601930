//! A request on a cacheable route, and all that its answer depends on.

use std::sync::Arc;

use crate::{
    admit::Inquiry,
    entry::Entry,
    error::ProxyError,
    exchange::Exchange,
    route::Route,
    serve::Found,
    state::{Live, Shared},
    upstream,
};

/// A request on a cacheable route, with all that its answer depends on.
#[derive(Clone, Debug)]
pub struct Question {
    /// What lasts.
    pub shared: Arc<Shared>,
    /// The settings as of the request.
    pub live: Arc<Live>,
    /// The rule that covers it.
    pub route: Arc<Route>,
    /// The request.
    pub exchange: Exchange,
    /// What was understood of it.
    pub inquiry: Inquiry,
    /// The fresh answer that is stored for it, in a form that is of no use to it.
    pub kept: Option<Arc<Entry>>,
    /// The stale answer that it gets where the upstream fails.
    pub fallback: Option<Found>,
}

impl Question {
    /// When the answer must have begun.
    pub fn deadline(&self) -> tokio::time::Instant {
        (self.exchange.started + self.live.config.upstream.first_byte_timeout).into()
    }

    /// The error of an answer that has not begun by then.
    pub fn too_late(&self) -> ProxyError {
        upstream::timed_out(self.live.config.upstream.first_byte_timeout)
    }
}
