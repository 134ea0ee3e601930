//! Many values at once: what the inputs of one request need, in one round trip.

use std::time::Duration;

use ::redis::Value;
use bytes::Bytes;
use futures_util::future::join_all;

use super::{
    RedisClient, StoreError,
    breaker::CallKind,
    calls::PutOptions,
    nodes::{Commands, Lane, Request},
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
        // One command never concerns two slots.
        if self.nodes.is_cluster() {
            return join_all(keys.iter().map(|key| self.get(key))).await;
        }
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
        let is_large = |index: &usize| keys.len() > BULK || self.keys.is_large(self.keys.hash(&keys[*index]));
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
        let mut command = ::redis::cmd("MGET");
        for index in lot {
            command.arg(&keys[*index]);
        }
        let key = lot.first().map_or("", |index| &keys[*index]);
        let (kind, lane) = (CallKind::Read, Lane::Lookup { is_large });
        let request = Request { key, kind, lane, within: Duration::MAX, commands: Commands::One(&command) };
        let (reply, answerer) = self.nodes.call(request).await?;
        let Value::Array(found) = reply else { return Err(answerer.bad_reply()) };
        if found.len() != lot.len() {
            return Err(answerer.bad_reply());
        }
        let values = lot.iter().zip(found).map(|(index, value)| match value {
            Value::Nil => Ok(None),
            Value::BulkString(value) => {
                self.keys.note(self.keys.hash(&keys[*index]), value.len());
                Ok(Some(value.into()))
            }
            _ => Err(answerer.bad_reply()),
        });
        values.collect()
    }
}
