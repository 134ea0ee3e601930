//! What a fill is for.

/// Why the upstream is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A request waits for the answer.
    Answer,
    /// A request waits for it, after another request's fill failed.
    SecondAnswer,
    /// A stale answer is to be replaced; nobody waits.
    Refresh,
}
