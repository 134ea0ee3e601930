//! Rules for HTTP fields, and the framing of streams.

pub(crate) mod cache_control;
pub mod forwarded;
pub(crate) mod guarded;
pub mod headers;
pub(crate) mod per_call;
pub mod sse;
pub mod validation;
