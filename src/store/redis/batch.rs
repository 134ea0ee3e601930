//! Many values at once: what the inputs of one request need, in one round trip.

use std::time::Duration;

use ::redis::Value;
use bytes::Bytes;
use futures_util::future::join_all;

use super::{
    Put, RedisStore, StoreError,
    breaker::{Call, Kind},
};
use crate::cache::invalidation::Offset;

/// More values than this are together what a large one is, and use its connection.
const BULK: usize = 32;

/// The keys of one command at most: Redis does nothing else meanwhile.
const AT_ONCE: usize = 64;

impl RedisStore {
    /// The values under `keys`, each as [`Self::get`] would give it, but for what is no string: that is not there.
    pub async fn get_many(&self, keys: &[String]) -> Vec<Result<Option<Bytes>, StoreError>> {
        let mut values = vec![Err(StoreError::Unavailable); keys.len()];
        let lots = self.lots(keys);
        let replies = join_all(lots.iter().map(|(is_large, lot)| self.get_lot(*is_large, keys, lot))).await;
        for ((_, lot), reply) in lots.iter().zip(replies) {
            match reply {
                Ok(found) => lot.iter().zip(found).for_each(|(place, value)| values[*place] = value),
                Err(error) => lot.iter().for_each(|place| values[*place] = Err(error)),
            }
        }
        values
    }

    /// Stores many values, each as [`Self::put`] would; how that went.
    pub async fn put_many(
        &self,
        values: Vec<(String, Bytes, Duration)>,
    ) -> Vec<Result<Option<Offset>, StoreError>> {
        let how = Put { is_bulk: values.len() > BULK, ..Put::default() };
        join_all(values.iter().map(|(key, value, ttl)| self.put_on(key, value.clone(), *ttl, how))).await
    }

    /// The places of the keys that one command asks for, and whether it is one for large values.
    fn lots(&self, keys: &[String]) -> Vec<(bool, Vec<usize>)> {
        let is_large = |place: &usize| {
            keys.len() > BULK || self.large_keys.contains(self.large_keys.hash(&keys[*place]))
        };
        let (large, small): (Vec<_>, Vec<_>) = (0..keys.len()).partition(is_large);
        let cut = |places: &[usize], is_large| -> Vec<_> {
            places.chunks(AT_ONCE).map(|lot| (is_large, lot.to_vec())).collect()
        };
        [cut(&small, false), cut(&large, true)].concat()
    }

    async fn get_lot(
        &self,
        is_large: bool,
        keys: &[String],
        lot: &[usize],
    ) -> Result<Vec<Result<Option<Bytes>, StoreError>>, StoreError> {
        let lanes = self.breaker.lanes()?;
        let mut command = ::redis::cmd("MGET");
        for place in lot {
            command.arg(&keys[*place]);
        }
        let first = lot.first().map_or("", |place| &keys[*place]);
        let lane = lanes.pick(is_large);
        let call = Call { lanes: &lanes, lane, key: first, kind: Kind::Read, within: Duration::MAX };
        let reply = self.breaker.call(call, lane.send(&command)).await?;
        let Value::Array(found) = reply else { return Err(self.breaker.mistrust(&lanes)) };
        if found.len() != lot.len() {
            return Err(self.breaker.mistrust(&lanes));
        }
        let values = lot.iter().zip(found).map(|(place, value)| match value {
            Value::Nil => Ok(Ok(None)),
            Value::BulkString(value) => {
                self.large_keys.note(self.large_keys.hash(&keys[*place]), value.len());
                Ok(self.unsealed(&keys[*place], value).map(Some))
            }
            _ => Err(self.breaker.mistrust(&lanes)),
        });
        values.collect()
    }
}
