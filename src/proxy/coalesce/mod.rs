//! One call of the upstream for the same question at the same moment: an answer while it arrives, and which ones are running.

pub(crate) mod detach;
pub(crate) mod flight;
pub(crate) mod registry;
