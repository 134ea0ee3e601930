//! One call of the upstream for the same question at the same moment: an answer while it arrives, and which ones are running.

pub mod detach;
pub mod flight;
pub mod registry;
