//! Where answers are kept: in this process, or in Redis.

mod memory;

pub use memory::MemoryStore;
