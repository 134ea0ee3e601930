//! A fill: one call of the upstream. It writes the answer for its readers while it comes, and stores it once it is whole.
//! A fill goes on if its client leaves, unless the route says `on_abandon = "cancel"` or the answer may not be stored.
//!
//! Whether the answer may be stored is decided in this order, and the first "no" gives the reason:
//!
//! 1. by the request (`request::classify`): no key, no entry;
//! 2. by the response's head ([`cacheability::of_head`]): the route's rules ([`crate::cache::policy`]) or RFC 9111
//!    (`cache/rfc9111/`), and the length;
//! 3. by the body, judged as its dialect says ([`cacheability::of_body`]), and its end ([`cacheability::of_end`]);
//! 4. by what was invalidated since the fill began ([`save::entry`]);
//! 5. by the store ([`save::store`]): another form that stays, or a store that fails.

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
