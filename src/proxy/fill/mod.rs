//! A fill is one call of the upstream. It streams the answer to its readers and stores it when it is complete. It goes on
//! when its last reader leaves, except if the route says `on_abandon = "cancel"` or the answer cannot be stored
//! ([`call::Fill::ends_when_abandoned`], [`receive`]).
//!
//! Whether the answer may be stored is decided in this order, and the first "no" gives the reason:
//!
//! 1. By the request: its head (`refusal` in [`crate::request::head`]), then its body ([`crate::request::classify`]).
//!    Without a key, nothing is stored. A bypass that keeps its key (`no-cache`) is stored.
//! 2. By the response's head ([`cacheability::of_head`]): `HEAD`, the rules of the route ([`crate::cache::policy`]) or RFC
//!    9111 ([`crate::cache::rfc9111`]), conversation turns, the `Content-Length`.
//! 3. While the body arrives ([`receive`]): a cut answer (`truncated` in the access log), or more than `store.max_entry`.
//! 4. By the whole body, as its dialect judges it ([`cacheability::of_body`]), and by its end ([`cacheability::of_end`]).
//! 5. By what was invalidated since the fill began, and by its tags ([`save::entry`]).
//! 6. By the store ([`save::store`]): another form that stays, or a store that fails.

mod cacheability;
mod call;
mod lease;
mod outcome;
mod purpose;
mod receive;
mod recorder;
mod run;
mod save;

pub(crate) use self::{call::Fill, purpose::Purpose};
