//! A stored answer.

pub(crate) mod codec;
pub(crate) mod compression;
pub(crate) mod envelope;
pub(crate) mod request_label;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

pub use self::request_label::RequestLabel;
use crate::{
    cache::{
        invalidation::{Dependencies, InvalidationLog, TargetId, Version},
        key::Key,
    },
    dialect::{Slot, usage::Usage},
};

/// An answer as the upstream sent it, and what is needed to serve it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The status.
    pub status: StatusCode,
    /// The headers, without those that a hit leaves out.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// When it was stored, in milliseconds since the Unix epoch.
    pub stored_at: u64,
    /// How long it is fresh from `stored_at` on.
    pub ttl: Duration,
    /// How long after that it is served while the upstream is asked again.
    pub stale_while_revalidate: Duration,
    /// How long after that it is served if the upstream fails.
    pub stale_if_error: Duration,
    /// The version of the invalidation log at which its fill began.
    pub began: Version,
    /// What it depends on besides its key.
    pub target_ids: Vec<TargetId>,
    /// What operators see of the request that it answers.
    pub request: RequestLabel,
    /// The names of those targets that are tags.
    pub tags: Vec<String>,
    /// The id of the form that the request asked for (`dialect::Form`). Only a request for that form
    /// gets the body as it is.
    pub form: u64,
    /// Whether the request had credentials.
    pub with_credentials: bool,
    /// How long the upstream took.
    pub took: Duration,
    /// The model that answered.
    pub model: Option<String>,
    /// The tokens that the answer took.
    pub usage: Option<Usage>,
    /// The milliseconds before each event of a stream.
    pub pace: Vec<u32>,
    /// The places in the body that each hit fills.
    pub slots: Vec<Slot>,
}

impl Entry {
    /// An answer without times, dependencies and figures: it is never fresh until those are set.
    pub fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self {
            status,
            headers,
            body,
            stored_at: 0,
            ttl: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            began: Version::default(),
            target_ids: Vec::new(),
            request: RequestLabel::default(),
            tags: Vec::new(),
            form: 0,
            with_credentials: false,
            took: Duration::ZERO,
            model: None,
            usage: None,
            pace: Vec::new(),
            slots: Vec::new(),
        }
    }

    pub(crate) fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.headers.get(name)
    }

    /// The age at `now`, which is in milliseconds since the Unix epoch. If the clock was set back, the entry
    /// counts as new.
    pub(crate) fn age(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.stored_at))
    }

    /// Whether something that this entry, found under `key`, depends on was invalidated since its fill began.
    pub(crate) fn is_invalidated(&self, key: &Key, invalidations: &InvalidationLog) -> bool {
        invalidations.is_invalidated(self.began, Dependencies { key, target_ids: &self.target_ids })
    }

    /// How long it can be used: while it is fresh, and while it may be served stale.
    pub(crate) fn life(&self) -> Duration {
        self.ttl.saturating_add(self.stale_while_revalidate).saturating_add(self.stale_if_error)
    }
}
