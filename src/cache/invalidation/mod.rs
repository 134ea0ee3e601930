//! What invalidates entries: a log of invalidations, in the order that all replicas share. An entry remembers the position at
//! which its fill began, so nothing is searched or deleted when something changes.

pub mod glob;
pub mod log;
pub mod resource;
pub mod tags;
