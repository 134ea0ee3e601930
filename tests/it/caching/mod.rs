//! The promise: the same question is asked of the upstream once, for as long as its answer is fresh, and no caller gets
//! an answer that is not theirs.

mod conditional_requests;
mod conversations;
mod end_to_end;
mod request_cache_control;
mod rfc9111;
mod sharing;
mod stale;
mod streams;
mod uncacheable;
mod unfinished_documents;
