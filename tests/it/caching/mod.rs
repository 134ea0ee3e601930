//! The promise: as long as an answer is fresh, the same question reaches the upstream once, and no caller
//! gets an answer that is another caller's.

mod agents;
mod audio;
mod batches;
mod client_info;
mod conditional_requests;
mod conditions;
mod conversations;
mod encoded_requests;
mod end_to_end;
mod epochs;
mod identity;
mod request_cache_control;
mod rfc9111;
mod route_language;
mod sharing;
mod stale;
mod streams;
mod uncacheable;
mod unfinished_documents;
