//! HTTP field rules, and the framing of streams. Pure.

pub(crate) mod cache_control;
pub mod forwarded;
pub mod headers;
pub(crate) mod per_call;
pub mod sse;
pub mod validation;
