//! What the upstream is asked for.

/// What the upstream is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An answer to a request that waits.
    Answer,
    /// The same, after another request's failure.
    SecondAnswer,
    /// A fresh answer in the place of a stale one, for which nobody waits.
    Refresh,
}
