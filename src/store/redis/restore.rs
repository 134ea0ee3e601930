//! After a fail-over: what the new master has not heard of.
//!
//! A master tells its replicas what it was told, and does not wait for them. So the next master may lack the last
//! invalidations. This process knows them: it appends them again, at a position behind all that it knows, and nothing that
//! was stored is lost. Where that is not enough, another epoch begins, and all that was stored counts as invalidated.

use std::collections::HashSet;

use ::redis::{RedisError, aio::MultiplexedConnection};

use super::{
    client::streams::{Extent, Streams, positions},
    subscriber::request,
};
use crate::cache::invalidation::{InvalidationLog, Offset, Version};

/// The last invalidations that a new master may lack, in milliseconds: replicas are not further behind.
const WINDOW: u64 = 60_000;

/// More events than are remembered here are not compared.
const MAX_EVENTS: usize = 20_000;

/// What is known here of a log that the server has.
pub(super) struct KnownLog<'a> {
    pub(super) streams: &'a Streams,
    pub(super) invalidations: &'a InvalidationLog,
}

/// What became of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restored {
    /// The server has all that is known here.
    Whole,
    /// The server has it again. It is to be read once more from this position.
    From(Offset),
    /// The log cannot be made whole.
    Lost,
}

impl KnownLog<'_> {
    /// Compares the log of `epoch` on the server, which has this extent, with what is known here, and appends what the
    /// server lacks.
    ///
    /// # Errors
    /// If the server does not answer, or takes no writes.
    pub(super) async fn restore(
        &self,
        connection: &mut MultiplexedConnection,
        epoch: u64,
        extent: &Extent,
    ) -> Result<Restored, RedisError> {
        let Some(Version { offset: last, .. }) = self.invalidations.last().filter(|last| last.epoch == epoch)
        else {
            return Ok(Restored::Whole);
        };
        // What was trimmed is not lost: it counts as invalidated.
        if last == Offset::default() || extent.lost_before().is_some_and(|first| last < first) {
            return Ok(Restored::Whole);
        }
        if self.on_server(connection, last, 1).await?.contains(&last) {
            return Ok(Restored::Whole);
        }
        let window = Offset { major: last.major.saturating_sub(WINDOW), minor: 0 };
        let (window, known) = self.invalidations.positions_since(window);
        let there = self.on_server(connection, window, MAX_EVENTS).await?;
        let there: HashSet<_> = there.into_iter().filter(|position| *position <= last).collect();
        // The server's clock is behind: an invalidation of its own may look older than an entry that it concerns.
        let is_foreign = there.iter().any(|position| !known.contains(position));
        if extent.last < window || is_foreign {
            return Ok(Restored::Lost);
        }
        let lost = known.difference(&there).copied().collect();
        for invalidation in self.invalidations.invalidated_at(&lost) {
            request(connection, &self.streams.invalidate_behind(&invalidation, last)).await?;
        }
        Ok(Restored::From(window))
    }

    /// The positions of `count` events that the server's log has, from `first` on.
    async fn on_server(
        &self,
        connection: &mut MultiplexedConnection,
        first: Offset,
        count: usize,
    ) -> Result<Vec<Offset>, RedisError> {
        positions(request(connection, &self.streams.events_from(first, count)).await?)
    }
}
