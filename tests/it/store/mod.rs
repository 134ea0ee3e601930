//! The promise: Redis makes entries shared and durable, it is never in the way of a request, and no replica
//! serves an entry from its memory after the entry's end.

mod cluster;
mod fail_over;
mod log_end;
mod near_cache;
mod passwords;
mod redis_store;
mod replicas_seen;
mod requirements;
mod shared_redis;
mod traffic;
mod versions;
