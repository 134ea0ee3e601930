//! Rules for HTTP fields, and the framing of streams.

pub(crate) mod cache_control;
pub(crate) mod content_coding;
pub(crate) mod forwarded;
pub(crate) mod guarded;
pub(crate) mod headers;
pub(crate) mod hex;
pub(crate) mod multipart;
pub(crate) mod per_call;
pub(crate) mod sse;
pub(crate) mod trace_context;
pub(crate) mod validation;
