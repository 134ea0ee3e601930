//! What the benchmarks share: an upstream, the processes they start, HTTP by hand, and figures.

pub(crate) mod arguments;
pub(crate) mod client;
pub(crate) mod figures;
pub(crate) mod http;
pub(crate) mod machine;
pub(crate) mod nginx;
pub(crate) mod process;
pub(crate) mod sidecache;
pub(crate) mod upstream;
pub(crate) mod varnish;
