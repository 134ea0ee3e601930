//! Positions in the invalidation log.

/// A position in one log; with Redis, the id of a stream's entry. Offsets of two logs cannot be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Offset {
    /// The first number: milliseconds with Redis.
    pub major: u64,
    /// The second number.
    pub minor: u64,
}

/// A position, and the log that it is in.
///
/// A log is lost with the store that has it, and a new one begins. Nothing is known of entries that refer to
/// the lost one, so they count as invalid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Which log.
    pub epoch: u64,
    /// How far in it.
    pub offset: Offset,
}
