//! What caching means here: routes, keys, entries, freshness, and what invalidates. Pure: clocks are passed in, and nothing
//! here knows of a socket, a store or a log.

pub mod encryption;
pub mod entry;
pub mod hash_table;
pub mod invalidation;
pub mod key;
pub mod policy;
pub mod request_directives;
pub mod rfc9111;
pub mod route;
pub mod status;
pub mod unfinished;
