//! The stream of writes, of other replicas and this one: what it announces is dropped from the near cache.

use std::{sync::Arc, time::Instant};

use ::redis::RedisError;

use super::{
    client::streams::{Extent, PAGE, StreamsRead, written},
    near_cache::NearCache,
};
use crate::cache::{
    invalidation::Offset,
    key::{Key, namespace::Namespace},
};

/// Keeps a near cache in step with Redis.
pub(super) struct Announcements {
    near: Arc<NearCache>,
    namespace: Namespace,
    /// `None` before it is known where to begin.
    read: Option<Progress>,
}

/// How far the stream was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    offset: Offset,
    /// What was added to it up to there.
    count: u64,
}

impl Progress {
    /// Whether a stream of this extent still has all events after this position.
    fn continues_in(&self, extent: &Extent) -> bool {
        let is_same_stream =
            if extent.last == self.offset { extent.added == self.count } else { extent.last > self.offset };
        is_same_stream && extent.added >= self.count && extent.gone() <= self.count
    }
}

impl Announcements {
    pub(super) fn new(near: Arc<NearCache>, namespace: &str) -> Self {
        Self { near, namespace: Namespace::leak(namespace), read: None }
    }

    pub(super) fn offset(&self) -> Option<Offset> {
        self.read.map(|read| read.offset)
    }

    /// Empties the near cache: announcements may be missed.
    pub(super) fn lose(&mut self) {
        // Before it is known where to begin, nothing is near.
        if self.read.take().is_some() {
            self.near.clear();
        }
    }

    /// Applies what was read of the stream; whether those were all events. If it is another stream than the
    /// one that was read so far, reading goes on from its end.
    pub(super) fn apply(&mut self, streams: &StreamsRead) -> Result<bool, RedisError> {
        let same_stream = self.read.zip(streams.written).filter(|(read, extent)| read.continues_in(extent));
        let Some((mut read, _)) = same_stream else {
            self.lose();
            self.read =
                streams.written.map(|Extent { last, added, .. }| Progress { offset: last, count: added });
            return Ok(streams.written.is_none());
        };
        for event in &streams.writes {
            let (offset, key) = written(event)?;
            if let Some(key) = Key::parse(self.namespace, key) {
                self.near.apply_announcement(&key, offset);
            }
            read = Progress { offset, count: read.count + 1 };
        }
        self.read = Some(read);
        Ok(streams.writes.len() < PAGE)
    }

    /// Everything that happened by `at` is known, invalidations too.
    pub(super) fn mark_current(&self, at: Instant) {
        if self.read.is_some() {
            self.near.mark_current(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_continues_if_nothing_is_missing() {
        let at = |minor| Offset { major: 1, minor };
        let read = Progress { offset: at(5), count: 5 };
        let extent = |added, length, last| Extent { added, length, first: None, last: at(last) };
        for (there, continues, why) in [
            (extent(5, 5, 5), true, "nothing new"),
            (extent(9, 9, 9), true, "more"),
            (extent(9, 4, 9), true, "all that is gone was read"),
            (extent(9, 3, 9), false, "one that was not read is gone"),
            (extent(4, 4, 4), false, "another one, behind"),
            (extent(4, 4, 9), false, "another one, with fewer"),
            (extent(6, 6, 5), false, "another one that has come as far"),
            (extent(7, 7, 4), false, "one that was set back"),
        ] {
            assert_eq!(read.continues_in(&there), continues, "{why}");
        }
    }
}
