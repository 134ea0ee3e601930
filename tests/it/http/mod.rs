//! The promise: sidecache is a correct HTTP proxy, for what it caches and for what it passes through.

mod client_limits;
mod errors;
mod forwarded_headers;
mod half_close;
mod lingering_close;
mod loops;
mod pass_through;
mod passed_reasons;
mod proxy_protocol;
mod response_headers;
mod upstream_addresses;
mod upstream_connections;
mod upstream_failures;
mod upstream_sockets;
pub(crate) mod upstream_tls;
