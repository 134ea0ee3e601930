//! Many values at once: what the inputs of one request need, in one round trip.

use std::time::Duration;

use ::redis::Value;
use bytes::Bytes;
use futures_util::future::join_all;

use super::{
    PutOptions, RedisClient, StoreError,
    breaker::{Call, CallKind},
};
use crate::cache::invalidation::Offset;

/// More values than this are together as large as one large value, and use its connection.
const BULK: usize = 32;

/// The keys of one command at most: Redis does nothing else meanwhile.
const AT_ONCE: usize = 64;

impl RedisClient {
    /// The values under `keys`, each as [`Self::get`] would give it, except that a key without a string
    /// counts as missing.
    pub async fn get_many(&self, keys: &[String]) -> Vec<Result<Option<Bytes>, StoreError>> {
        let mut values = vec![Err(StoreError::Unavailable); keys.len()];
        let lots = self.lots(keys);
        let replies = join_all(lots.iter().map(|(is_large, lot)| self.get_lot(*is_large, keys, lot))).await;
        for ((_, lot), reply) in lots.iter().zip(replies) {
            match reply {
                Ok(found) => lot.iter().zip(found).for_each(|(index, value)| values[*index] = Ok(value)),
                Err(error) => lot.iter().for_each(|index| values[*index] = Err(error)),
            }
        }
        values
    }

    /// Stores many values, each as [`Self::put`] would; the results in the same order.
    pub async fn put_many(
        &self,
        values: Vec<(String, Bytes, Duration)>,
    ) -> Vec<Result<Option<Offset>, StoreError>> {
        let options = PutOptions { is_bulk: values.len() > BULK, ..PutOptions::default() };
        let put = |(key, value, ttl): (String, Bytes, Duration)| async move {
            self.put_with(&key, value, ttl, options).await
        };
        join_all(values.into_iter().map(put)).await
    }

    /// For each command, whether it goes over the connection for large values, and the indices of its keys.
    fn lots(&self, keys: &[String]) -> Vec<(bool, Vec<usize>)> {
        let is_large = |index: &usize| {
            keys.len() > BULK || self.large_keys.contains(self.large_keys.hash(&keys[*index]))
        };
        let (large, small): (Vec<_>, Vec<_>) = (0..keys.len()).partition(is_large);
        let cut = |indices: &[usize], is_large| -> Vec<_> {
            indices.chunks(AT_ONCE).map(|lot| (is_large, lot.to_vec())).collect()
        };
        [cut(&small, false), cut(&large, true)].concat()
    }

    async fn get_lot(
        &self,
        is_large: bool,
        keys: &[String],
        lot: &[usize],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let connections = self.breaker.connections()?;
        let mut command = ::redis::cmd("MGET");
        for index in lot {
            command.arg(&keys[*index]);
        }
        let key = lot.first().map_or("", |index| &keys[*index]);
        let connection = self.breaker.for_lookup(&connections, key, is_large);
        let call =
            Call { connections: &connections, connection, key, kind: CallKind::Read, within: Duration::MAX };
        let reply = self.breaker.call(call, connection.send(&command)).await?;
        let Value::Array(found) = reply else { return Err(self.breaker.bad_reply(&connections)) };
        if found.len() != lot.len() {
            return Err(self.breaker.bad_reply(&connections));
        }
        let values = lot.iter().zip(found).map(|(index, value)| match value {
            Value::Nil => Ok(None),
            Value::BulkString(value) => {
                self.large_keys.note(self.large_keys.hash(&keys[*index]), value.len());
                Ok(Some(value.into()))
            }
            _ => Err(self.breaker.bad_reply(&connections)),
        });
        values.collect()
    }
}
