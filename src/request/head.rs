//! What a request's head says on the route that covers it, whatever its body. Pure.
//!
//! It is all that is needed of the head to look an answer up: the same head again need not be read again.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderName, header, request::Parts};

use crate::{
    cache::{
        key::{self, BodyDigest},
        request_directives::RequestDirectives,
        rfc9111::{
            conditional::{self, Conditions},
            range::Range,
        },
        route::{Mode, Route},
    },
    dialect::Dialect,
    http::headers,
    json::canonical::write_part,
    reason::Reason,
};

/// What names a request for its repeats (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What a request's head says.
#[derive(Debug)]
pub struct RequestHead {
    /// The route that covers it.
    pub(crate) route: Arc<Route>,
    /// What it asks of the cache.
    pub(crate) directives: RequestDirectives,
    /// Why the store is not asked, whatever the body says.
    pub(crate) refused: Option<Reason>,
    /// On which conditions it wants the answer.
    pub(crate) conditions: Conditions,
    /// The part of the answer that a stored response can give.
    pub(crate) range: Option<Range>,
    /// The digest of its credentials; `None` where it has none.
    pub(crate) credentials: Option<blake3::Hash>,
    /// Whether its body is called JSON.
    pub(crate) is_json: bool,
    /// Whether its body is compressed.
    pub(crate) is_encoded: bool,
    /// The digest of what names this request for its repeats.
    pub(crate) idempotency_key: Option<blake3::Hash>,
    /// What of it is in the key, for bodies that are taken as the first one was.
    in_key: OnceLock<(BodyForm, blake3::Hash)>,
}

/// How a body is taken: what of the head counts depends on that.
type BodyForm = (Dialect, u8);

impl RequestHead {
    /// Reads the head of a request that `route` covers by its method and path; without the connection's headers.
    pub(crate) fn new(route: &Arc<Route>, parts: &Parts) -> Self {
        let Parts { method, headers, .. } = parts;
        let follows = route.mode == Mode::Rfc9111;
        let directives = match (route.honor_request_cache_control, follows) {
            (false, _) => RequestDirectives::default(),
            (true, false) => RequestDirectives::from_headers(headers),
            (true, true) => RequestDirectives::from_headers_with_pragma(headers),
        };
        Self {
            route: Arc::clone(route),
            directives,
            refused: refusal(route, parts, &directives),
            conditions: Conditions::from_request(route.kind, method, headers),
            range: if follows { Range::from_request(method, headers) } else { None },
            credentials: credentials(headers),
            is_json: headers::is_json(headers),
            is_encoded: headers.contains_key(header::CONTENT_ENCODING),
            idempotency_key: headers.get(IDEMPOTENCY_KEY).map(|key| blake3::hash(key.as_bytes())),
            in_key: OnceLock::new(),
        }
    }

    /// The digest of the request with this head, which `parts` has, and this body. `host_counts` is as in
    /// [`key::Request`].
    pub(crate) fn key_digest(
        &self,
        parts: &Parts,
        host_counts: bool,
        dialect: Dialect,
        body: BodyDigest,
    ) -> blake3::Hash {
        let form = (dialect, body.taken_as());
        let of_head =
            || key::head_digest(&key::Request::from_parts(parts, &self.route, dialect, host_counts, body));
        let (known, digest) = self.in_key.get_or_init(|| (form, of_head()));
        let digest = if *known == form { *digest } else { of_head() };
        key::whole_digest(&digest, body)
    }
}

/// Why the store is not asked, though the request is one of its route's.
fn refusal(route: &Route, parts: &Parts, directives: &RequestDirectives) -> Option<Reason> {
    if route.ttl.is_zero() {
        return Some(Reason::TtlZero);
    }
    if directives.no_store {
        return Some(Reason::RequestNoStore);
    }
    let has = |name: HeaderName| parts.headers.contains_key(name);
    match route.mode {
        Mode::Ttl if has(header::CONTENT_ENCODING) => return Some(Reason::RequestEncoded),
        _ if conditional::upstream_must_evaluate(route.kind, &parts.method, &parts.headers) => {
            return Some(Reason::RequestPrecondition);
        }
        // Where the upstream is followed, a stored response may have the part that is asked for.
        Mode::Rfc9111 if Range::from_request(&parts.method, &parts.headers).is_some() => return None,
        Mode::Ttl | Mode::Rfc9111 => {}
    }
    has(header::RANGE).then_some(Reason::RequestRange)
}

/// The digest of a request's credentials; `None` where it has none.
fn credentials(headers: &HeaderMap) -> Option<blake3::Hash> {
    let mut lines: Vec<_> = headers.iter().filter(|(name, _)| headers::is_credential(name)).collect();
    lines.sort_by_key(|(name, _)| name.as_str());
    let mut found = Vec::new();
    for (name, value) in lines {
        write_part(name.as_str().as_bytes(), &mut found);
        write_part(value.as_bytes(), &mut found);
    }
    (!found.is_empty()).then(|| blake3::hash(&found))
}
