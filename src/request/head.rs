//! What a request's head says on the route that covers it, whatever the body says. Pure.
//!
//! A lookup needs nothing else of the head, so a head that comes again is not read again.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use http::{HeaderName, Uri, header, request::Parts};

use crate::{
    cache::{
        identity::{self, Caller, Identity},
        key::{self, BodyDigest},
        request_directives::RequestDirectives,
        rfc9111::{
            conditional::{self, Conditions},
            range::Range,
        },
        route::{ConversationPlace, Mode, Route, kind::Kind, pattern::decoded},
    },
    dialect::{Dialect, is_conversation_name},
    http::{content_coding::ContentCoding, headers},
    json::canonical::write_part,
    reason::Reason,
    request::body::RawBody,
};

/// Marks a request as the repeat of another (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) route: Arc<Route>,
    pub(crate) directives: RequestDirectives,
    /// Why the store is not asked, whatever the body says.
    pub(crate) refused: Option<Reason>,
    pub(crate) conditions: Conditions,
    /// The part of a stored response that it asks for.
    pub(crate) range: Option<Range>,
    /// The digest of its credentials.
    pub(crate) credentials: Option<blake3::Hash>,
    /// The digest of those in its query.
    pub(crate) in_query: Option<blake3::Hash>,
    /// Whether its `Content-Type` is JSON.
    pub(crate) is_json: bool,
    /// Whether its body is compressed, and how.
    pub(crate) coding: ContentCoding,
    /// The conversations that its path and its query name.
    pub(crate) conversations: Vec<String>,
    /// The digest of its `Idempotency-Key`.
    pub(crate) idempotency_key: Option<blake3::Hash>,
    /// The head's part of the key, for bodies that are read as the first one was, of a caller who counts as then.
    digest: OnceLock<(HeadForm, blake3::Hash)>,
    /// The same head on the route that was chosen last, if that was another one.
    on_other_route: ArcSwapOption<Self>,
}

/// How a body is read, and what stands for credentials; which headers count depends on that.
type HeadForm = (Dialect, u8, Option<Identity>);

impl RequestHead {
    /// Reads a head that `route` covers, without the connection's headers.
    pub(crate) fn new(route: &Arc<Route>, parts: &Parts) -> Self {
        let Parts { method, headers, .. } = parts;
        let is_rfc9111 = route.mode == Mode::Rfc9111;
        let coding = ContentCoding::from_headers(headers);
        let in_query = credentials_in_query(route, &parts.uri);
        let directives = match (route.honor_request_cache_control, is_rfc9111) {
            (false, _) => RequestDirectives::default(),
            (true, false) => RequestDirectives::from_headers(headers),
            (true, true) => RequestDirectives::from_headers_with_pragma(headers),
        };
        Self {
            route: Arc::clone(route),
            directives,
            refused: refusal(route, parts, &directives, coding),
            conditions: Conditions::from_request(route.kind, method, headers),
            range: if is_rfc9111 { Range::from_request(method, headers) } else { None },
            credentials: identity::credentials(headers, in_query.as_ref()),
            in_query,
            is_json: headers::is_json(headers),
            coding,
            conversations: conversations(route, &parts.uri),
            idempotency_key: headers.get(IDEMPOTENCY_KEY).map(|key| blake3::hash(key.as_bytes())),
            digest: OnceLock::new(),
            on_other_route: ArcSwapOption::empty(),
        }
    }

    /// The same head on another route: that of the last call, if the route is the same.
    pub(crate) fn on_other_route(&self, route: &Arc<Route>, parts: &Parts) -> Arc<Self> {
        let known = self.on_other_route.load_full();
        known.filter(|known| Arc::ptr_eq(&known.route, route)).unwrap_or_else(|| {
            let new = Arc::new(Self::new(route, parts));
            self.on_other_route.store(Some(Arc::clone(&new)));
            new
        })
    }

    /// Whether a body is to be JSON.
    pub(crate) fn wants_json(&self, body: &[u8]) -> bool {
        let route = &self.route;
        route.mode == Mode::Ttl
            && route.dialect.is_none_or(Dialect::is_json)
            && (route.builtin || !body.is_empty())
    }

    /// The route's dialect, if bodies are to be forms.
    pub(crate) fn form_dialect(&self) -> Option<Dialect> {
        self.route.dialect.filter(|dialect| self.route.mode == Mode::Ttl && dialect.is_form())
    }

    /// Whether a body of this length is passed through unread: one that is larger than `most`, on a built-in route for
    /// forms, whose files may be of any size.
    pub(crate) fn passes_unread(&self, length: u64, most: usize) -> bool {
        length > most as u64 && self.route.builtin && self.form_dialect().is_some()
    }

    /// Whether a body is read as JSON.
    pub(crate) fn reads_json(&self, body: &RawBody<'_>) -> bool {
        self.wants_json(body.bytes) && self.is_json && !body.is_encoded
    }

    /// The key's digest for this head, which is also in `parts`, and this body. `host_counts` is as in
    /// [`key::Request`]; `caller` sent it, where the scope asks who that is.
    pub(crate) fn key_digest(
        &self,
        parts: &Parts,
        host_counts: bool,
        (dialect, body): (Dialect, BodyDigest),
        caller: Option<&Caller>,
    ) -> blake3::Hash {
        let identity = caller.and_then(|caller| caller.identity.ok());
        let form = (dialect, body.taken_as(), identity);
        let in_headers = || {
            let request = key::Request::from_parts(parts, &self.route, dialect, host_counts, body);
            let headers = &*identity::counting_headers(identity.as_ref(), &self.route.scope, &parts.headers);
            let digest = key::head_digest(&key::Request { headers, ..request });
            identity.as_ref().map_or(digest, |identity| key::identified(&digest, identity))
        };
        let head_digest = || match &self.in_query {
            // The body is not of that API, and `vary_by` may leave the parameters out.
            Some(in_query) if !dialect.reads_query() => key::with_credentials(&in_headers(), in_query),
            _ => in_headers(),
        };
        let (known, digest) = self.digest.get_or_init(|| (form, head_digest()));
        let digest = if *known == form { *digest } else { head_digest() };
        key::whole_digest(&digest, body)
    }
}

/// The conversations that the path and the query of a question name.
fn conversations(route: &Route, uri: &Uri) -> Vec<String> {
    if route.kind != Kind::Query {
        return Vec::new();
    }
    let in_path = |name: &str| route.pattern.capture(name, uri.path()).map(decoded);
    let Some(places) = &route.conversation else {
        // The paths of the built-in routes name none.
        return route.pattern.names().filter(|name| is_conversation_name(name)).filter_map(in_path).collect();
    };
    let in_query = |own: &str| {
        let mut pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        pairs.find(|(name, _)| name == own).map(|(_, id)| id.into_owned())
    };
    let found = places.iter().filter_map(|place| match place {
        ConversationPlace::Body(_) => None,
        ConversationPlace::Path(name) => in_path(name),
        ConversationPlace::Query(name) => in_query(name),
    });
    found.filter(|id| !id.trim().is_empty()).collect()
}

/// Why the store is not asked, although the route caches its answers.
fn refusal(
    route: &Route,
    parts: &Parts,
    directives: &RequestDirectives,
    coding: ContentCoding,
) -> Option<Reason> {
    if route.ttl.is_zero() {
        return Some(Reason::TtlZero);
    }
    if directives.no_store {
        return Some(Reason::RequestNoStore);
    }
    let has = |name: HeaderName| parts.headers.contains_key(name);
    match route.mode {
        Mode::Ttl if coding == ContentCoding::Unknown => return Some(Reason::RequestEncoded),
        _ if conditional::upstream_must_evaluate(route.kind, &parts.method, &parts.headers) => {
            return Some(Reason::RequestPrecondition);
        }
        // Under `mode = "rfc9111"`, a stored response gives the part.
        Mode::Rfc9111 if Range::from_request(&parts.method, &parts.headers).is_some() => return None,
        Mode::Ttl | Mode::Rfc9111 => {}
    }
    has(header::RANGE).then_some(Reason::RequestRange)
}

/// The digest of the credentials in the query, if the route's API takes them there.
fn credentials_in_query(route: &Route, uri: &Uri) -> Option<blake3::Hash> {
    let query = uri.query()?;
    let dialect = route.dialect_at(uri.path()).filter(|dialect| dialect.reads_query())?;
    let mut found = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if dialect.credential_in_query(&name).is_some() {
            write_part(name.as_bytes(), &mut found);
            write_part(value.as_bytes(), &mut found);
        }
    }
    (!found.is_empty()).then(|| blake3::hash(&found))
}
