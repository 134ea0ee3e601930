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
    /// A hit by meaning is to be compared with the service's answer; nobody waits.
    Audit,
}

impl Purpose {
    /// Whether a client reads the answer from the beginning.
    pub(crate) const fn has_reader(self) -> bool {
        matches!(self, Self::Answer | Self::SecondAnswer)
    }
}
