//! A stored answer.

pub(crate) mod codec;
pub(crate) mod compression;
pub(crate) mod envelope;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{
    cache::{
        invalidation::{Dependencies, InvalidationLog, TargetId, Version},
        key::Key,
    },
    dialect::usage::Usage,
};

/// An answer as it came, and what is needed to serve it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, without those a hit leaves out.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// When it was stored, in milliseconds since the Unix epoch.
    pub stored_at: u64,
    /// How long it is fresh from then on.
    pub ttl: Duration,
    /// How long after that it is served while it is asked for anew.
    pub stale_while_revalidate: Duration,
    /// How long after that it is served where the upstream fails.
    pub stale_if_error: Duration,
    /// The place in the order of retirements at which its fill began.
    pub began: Version,
    /// What it depends on, besides its key.
    pub target_ids: Vec<TargetId>,
    /// Those of them that are tags, by name.
    pub tags: Vec<String>,
    /// The id of the form that the request asked for ([`crate::dialect::Form`]); only such a request gets the
    /// body as it is.
    pub form: u64,
    /// Whether the request that it answered had credentials.
    pub with_credentials: bool,
    /// How long the upstream took for it.
    pub took: Duration,
    /// The model that gave it.
    pub model: Option<String>,
    /// The tokens it took.
    pub usage: Option<Usage>,
    /// Of a stream, the milliseconds before each event.
    pub pace: Vec<u32>,
}

impl Entry {
    /// An answer that took nothing and is of no use for any time yet.
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
            tags: Vec::new(),
            form: 0,
            with_credentials: false,
            took: Duration::ZERO,
            model: None,
            usage: None,
            pace: Vec::new(),
        }
    }

    /// The value of its header `name`.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.headers.get(name)
    }

    /// How old it is at `now`, in milliseconds since the Unix epoch. A clock that was set back makes it no younger
    /// than new.
    pub(crate) fn age(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.stored_at))
    }

    /// Whether it, found under `key`, depends on what was retired since its fill began.
    pub(crate) fn is_invalidated(&self, key: &Key, invalidations: &InvalidationLog) -> bool {
        invalidations.is_invalidated(self.began, Dependencies { key, target_ids: &self.target_ids })
    }

    /// How long it is of use: fresh, and stale after that.
    pub(crate) fn life(&self) -> Duration {
        self.ttl.saturating_add(self.stale_while_revalidate).saturating_add(self.stale_if_error)
    }
}
