//! What makes entries invalid: a log of invalidations, in one order that all replicas share.
//!
//! It is an invalidation log, like Varnish's ban list, and its targets are surrogate keys. An entry has the
//! version of the log at which its fill began, and is a miss if a later invalidation concerns it. So an
//! invalidation costs the same however many entries it concerns, and a sweep (`store/sweep.rs`), like
//! Varnish's ban lurker, frees the space later.

pub(crate) mod glob;
mod log;
pub(crate) mod resource;
pub(crate) mod tags;
mod target;
mod version;

pub(crate) use self::log::InvalidationLog;
pub(crate) use self::target::{Dependencies, Invalidation};
pub use self::target::{Target, TargetId};
pub use self::version::{Offset, Version};
