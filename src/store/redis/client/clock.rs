//! How far the clock of this machine is from that of Redis: replicas compare times that they wrote there.

use std::time::{Duration, SystemTime};

use ::redis::{RedisError, from_redis_value};

use super::{
    connections::send,
    endpoint::Endpoint,
    error::{protocol, within},
};
use crate::time::unix_millis;

/// For the reply.
const PATIENCE: Duration = Duration::from_secs(2);

/// By how many milliseconds this machine's clock is ahead of that of Redis; negative if it is behind.
pub(super) async fn ahead(redis: &Endpoint) -> Result<i64, RedisError> {
    let mut connection = redis.open(1).await?;
    let before = unix_millis(SystemTime::now());
    let reply = within(PATIENCE, send(&mut connection, &::redis::cmd("TIME"))).await?;
    let after = unix_millis(SystemTime::now());
    let (seconds, micros) = from_redis_value::<(u64, u64)>(reply).map_err(|_| protocol())?;
    let redis = seconds.saturating_mul(1000).saturating_add(micros / 1000);
    Ok(difference(before, after, redis))
}

/// The least difference of the clocks by which Redis can have said `redis` between `before` and `after`.
fn difference(before: u64, after: u64, redis: u64) -> i64 {
    let nearest = redis.clamp(before.min(after), after.max(before));
    i64::try_from(i128::from(nearest) - i128::from(redis)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_on_the_way_is_no_difference() {
        for (redis, expected) in [(1000, 0), (1700, 0), (2000, 0), (400, 600), (2600, -600)] {
            assert_eq!(difference(1000, 2000, redis), expected, "{redis}");
        }
        // The clock may be set between the two.
        assert_eq!(difference(2000, 1000, 1500), 0);
        assert_eq!(difference(0, 0, u64::MAX), i64::MAX);
    }
}
