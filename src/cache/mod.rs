//! What caching means here: routes, keys, entries, freshness and invalidation.
//!
//! Pure: the clock is an argument, and nothing here knows a socket, a store or a log.

pub(crate) mod encryption;
pub(crate) mod entry;
pub(crate) mod hash_table;
pub(crate) mod identity;
pub(crate) mod insight;
pub(crate) mod invalidation;
pub(crate) mod key;
pub(crate) mod model;
pub(crate) mod policy;
pub(crate) mod price;
pub(crate) mod request_directives;
pub(crate) mod rfc9111;
pub(crate) mod route;
pub(crate) mod semantic;
pub(crate) mod status;
pub(crate) mod unfinished;
