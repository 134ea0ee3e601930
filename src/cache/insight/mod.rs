//! Why requests did not hit: what alone kept them from a stored answer, and which requests no route covers. Pure.
//!
//! Values are never kept: a part of a request is known by its name and by a hash that holds for this process alone.

pub(crate) mod almost_hits;
pub(crate) mod nonce;
pub(crate) mod parts;
pub(crate) mod uncovered;
