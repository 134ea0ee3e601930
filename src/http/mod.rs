//! HTTP field rules, and the framing of streams. Pure.

pub mod cache_control;
pub mod forwarded;
pub mod headers;
pub mod per_call;
pub mod sse;
pub mod validation;
