//! What other replicas, and this one, write: the stream of announcements, read into the near tier.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::RedisError;

use super::stream::{Extent, PAGE, Seen, written};
use crate::{
    cache::{
        invalidation::Offset,
        key::{Key, namespace::Namespace},
    },
    store::near_cache::NearCache,
};

/// Between two reads; with what they take, well below the time for which the tier gives what it has. (A read that waits
/// would be heard of too seldom: an idle Redis looks at its clock ten times a second.)
pub(super) const PAUSE: Duration = Duration::from_millis(25);

/// Keeps a near tier in step with Redis.
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
    /// Whether all that came after it is still there, in a stream that reaches so far now.
    fn goes_on_in(&self, extent: &Extent) -> bool {
        let is_same =
            if extent.last == self.offset { extent.added == self.count } else { extent.last > self.offset };
        is_same && extent.added >= self.count && extent.gone() <= self.count
    }
}

impl Announcements {
    pub(super) fn new(near: Arc<NearCache>, namespace: &str) -> Self {
        Self { near, namespace: Namespace::leak(namespace), read: None }
    }

    /// Where to read on.
    pub(super) fn offset(&self) -> Option<Offset> {
        self.read.map(|read| read.offset)
    }

    /// Something may have been missed: what is near is worth nothing.
    pub(super) fn lost(&mut self) {
        // Before it is known where to begin, nothing is near.
        if self.read.take().is_some() {
            self.near.lost();
        }
    }

    /// Takes over what was seen of the stream; whether that was all there was. Where the stream is not the one that was
    /// read so far, it is read on from its end.
    pub(super) fn take(&mut self, seen: &Seen) -> Result<bool, RedisError> {
        let went_on = self.read.zip(seen.written).filter(|(read, extent)| read.goes_on_in(extent));
        let Some((mut read, _)) = went_on else {
            self.lost();
            self.read =
                seen.written.map(|Extent { last, added, .. }| Progress { offset: last, count: added });
            return Ok(seen.written.is_none());
        };
        for event in &seen.writes {
            let (offset, key) = written(event)?;
            if let Some(key) = Key::parse(self.namespace, key) {
                self.near.announced(&key, offset);
            }
            read = Progress { offset, count: read.count + 1 };
        }
        self.read = Some(read);
        Ok(seen.writes.len() < PAGE)
    }

    /// Says that everything was known at `at`, what is retired too.
    pub(super) fn heard(&self, at: Instant) {
        if self.read.is_some() {
            self.near.heard(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_on_where_nothing_is_missing() {
        let at = |minor| Offset { major: 1, minor };
        let read = Progress { offset: at(5), count: 5 };
        let extent = |added, length, last| Extent { added, length, first: None, last: at(last) };
        for (there, goes_on, why) in [
            (extent(5, 5, 5), true, "nothing new"),
            (extent(9, 9, 9), true, "more"),
            (extent(9, 4, 9), true, "all that is gone was read"),
            (extent(9, 3, 9), false, "one that was not read is gone"),
            (extent(4, 4, 4), false, "another one, behind"),
            (extent(4, 4, 9), false, "another one, with fewer"),
            (extent(6, 6, 5), false, "another one that has come as far"),
            (extent(7, 7, 4), false, "one that was set back"),
        ] {
            assert_eq!(read.goes_on_in(&there), goes_on, "{why}");
        }
    }
}
