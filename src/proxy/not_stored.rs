//! Why the last answer to a question was not stored. The next response says it: a stream's head has gone before it is
//! known.

use std::time::Duration;

use moka::sync::Cache;

use crate::{cache::key::KeyId, reason::Reason};

/// How many keys are remembered, each for [`REMEMBERED_FOR`].
const MAX_KEYS: u64 = 10_000;
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(crate) struct NotStored(Cache<KeyId, Reason>);

impl Default for NotStored {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MAX_KEYS).time_to_live(REMEMBERED_FOR).build())
    }
}

impl NotStored {
    /// Notes whether the answer that came last was stored under `key`, and if not, why.
    pub(crate) fn record(&self, key: KeyId, stored: Result<(), Reason>) {
        match stored {
            Ok(()) => self.0.invalidate(&key),
            Err(reason) => self.0.insert(key, reason),
        }
    }

    /// Why the last answer was not stored under `key`; `None` if it was, or that is not known.
    pub(crate) fn last(&self, key: KeyId) -> Option<Reason> {
        self.0.get(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{key::Key, route::kind::Kind};

    fn id(number: u64) -> KeyId {
        Key::new("ns".into(), Kind::Query, blake3::hash(&number.to_le_bytes())).id()
    }

    #[test]
    fn the_last_answer_counts() {
        let not_stored = NotStored::default();
        assert_eq!(not_stored.last(id(0)), None);
        for reason in Reason::ALL {
            not_stored.record(id(0), Err(*reason));
            assert_eq!((not_stored.last(id(0)), not_stored.last(id(1))), (Some(*reason), None));
        }
        not_stored.record(id(0), Ok(()));
        assert_eq!(not_stored.last(id(0)), None);
    }

    #[test]
    fn a_bounded_number_is_remembered() {
        let not_stored = NotStored::default();
        (0..3 * MAX_KEYS).for_each(|number| not_stored.record(id(number), Err(Reason::Status)));
        not_stored.0.run_pending_tasks();
        assert!(not_stored.0.entry_count() <= MAX_KEYS, "{}", not_stored.0.entry_count());
    }
}
