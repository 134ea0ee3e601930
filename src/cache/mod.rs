//! What caching means here: routes, keys, entries, freshness and invalidation.
//!
//! Pure: the clock is an argument, and nothing here knows a socket, a store or a log.

pub(crate) mod encryption;
pub mod entry;
pub(crate) mod hash_table;
pub mod invalidation;
pub mod key;
pub mod policy;
pub mod request_directives;
pub(crate) mod rfc9111;
pub mod route;
pub(crate) mod status;
pub(crate) mod unfinished;
