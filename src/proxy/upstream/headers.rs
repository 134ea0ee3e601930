//! The headers of every request that goes upstream.

use crate::{
    cache::request_directives::{X_CACHE_SIMILAR, X_CACHE_TTL},
    http::forwarded,
    proxy::{exchange::Exchange, response},
};
use http::{HeaderMap, HeaderValue, header};

/// Turns the headers of a client's request, without those of its connection, into those that go upstream.
pub(crate) fn upstream_headers(exchange: &Exchange, headers: &mut HeaderMap, cacheable: bool) {
    // hyper adds the length; `Expect` was answered here; the others are for sidecache.
    for name in [header::CONTENT_LENGTH, header::EXPECT, X_CACHE_TTL, X_CACHE_SIMILAR] {
        headers.remove(name);
    }
    if cacheable {
        headers.remove(header::ACCEPT_ENCODING);
    }
    forwarded::rewrite(headers, &exchange.caller.peer, &exchange.live.config.trusted_proxies, !cacheable);
    if let Ok(id) = HeaderValue::from_str(&exchange.id) {
        headers.insert(response::X_REQUEST_ID, id);
    }
    if let Some(trace) = &exchange.trace {
        trace.write(headers);
    }
}
