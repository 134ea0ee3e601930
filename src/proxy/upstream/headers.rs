//! What every request upstream gets.

use crate::{
    cache::request_directives,
    http::forwarded,
    proxy::{exchange::Exchange, response},
};
use http::{HeaderMap, HeaderValue, header};

/// Makes of a request's headers those that go upstream. They are without the connection's.
pub(crate) fn upstream_headers(exchange: &Exchange, headers: &mut HeaderMap, cacheable: bool) {
    // The length is the body's; `Expect` was answered here; the TTL was for us.
    for name in [header::CONTENT_LENGTH, header::EXPECT, request_directives::X_CACHE_TTL] {
        headers.remove(name);
    }
    if cacheable {
        headers.remove(header::ACCEPT_ENCODING);
    }
    forwarded::rewrite(headers, &exchange.caller.peer, &exchange.live.config.trusted_proxies, !cacheable);
    if let Ok(id) = HeaderValue::from_str(&exchange.id) {
        headers.insert(response::X_REQUEST_ID, id);
    }
}
