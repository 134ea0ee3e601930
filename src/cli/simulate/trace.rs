//! The requests that a log tells of: what is replayed. Plain data.

/// A request for which the store was asked, or whose answer was stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// When it came, in microseconds since 1970.
    pub(super) at: i64,
    /// How long it took, in microseconds.
    pub(super) duration: i64,
    /// For a hit: how old the answer was, in microseconds.
    pub(super) age: u64,
    /// The number of its answer.
    pub(super) answer: u32,
    pub(super) told: Told,
}

/// How the log says that a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Hit,
    /// A hit after the answer's TTL.
    Stale,
    /// A miss. Its answer was stored, or would have been had the TTL not been 0.
    Miss,
    /// A miss that joined a running answer.
    Joined,
    /// A miss that gave nothing to store.
    NotStored,
    /// No lookup: the request asked for a new answer, which was stored.
    Refresh,
}

/// What is known of all answers under one key.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answer {
    /// The shard of the store that has it.
    pub(super) shard: u8,
    /// The bytes that it takes in the store.
    pub(super) size: u64,
    /// How long the upstream takes for it, in microseconds.
    pub(super) took: i64,
    /// How long it was fresh when the log was written, in microseconds.
    pub(super) life: i64,
    /// What a call costs, with the number of its currency.
    pub(super) cost: Option<(f64, u32)>,
}

#[derive(Debug, Default)]
pub(super) struct Trace {
    /// In the order in which they came.
    pub(super) requests: Vec<Request>,
    pub(super) answers: Vec<Answer>,
    pub(super) currencies: Vec<String>,
}
