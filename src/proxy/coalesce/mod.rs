//! One call of the upstream for the same question at the same moment.
//!
//! A flight is an answer while it arrives: one writer, any number of readers, a bounded buffer. The registry
//! knows the flights that others may join. The leader's own task does the work of its fill until there is
//! something to send; `detach` moves the rest to a task of its own.

mod buffer;
pub(crate) mod detach;
pub(crate) mod flight;
pub(crate) mod head;
pub(crate) mod registry;
