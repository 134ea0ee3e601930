//! What the benchmarks share: the program they measure, an upstream, the processes they start, HTTP by hand, and
//! figures.

pub mod arguments;
pub mod binary;
pub mod client;
pub mod figures;
pub mod http;
pub mod machine;
pub mod nginx;
pub mod process;
pub mod redis_servers;
pub mod sidecache;
pub mod upstream;
pub mod varnish;
