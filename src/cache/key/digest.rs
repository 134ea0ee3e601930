//! What goes into a key, and in what order.
//!
//! The parts of the head that count are written into one buffer, each with its length, and hashed; so are the
//! parts of the body. The key is the digest of these two digests, so a head or a body that comes again needs
//! no hashing.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts, uri::PathAndQuery};

use crate::{
    cache::{
        identity::Identity,
        route::{Mode, Route, Scope},
    },
    dialect::{Dialect, Unshared},
    http::{
        headers::{self, HeaderPattern, any_matches},
        multipart::Part,
    },
    json::{
        Json,
        canonical::{self, write_part},
        mask::Mask,
        pointer::Pointer,
    },
};

/// Must change whenever a request would get another key than before.
const VERSION: &[u8] = b"sidecache key 6";

/// What a request's key is made of.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The route that covers it.
    pub route: &'a Route,
    /// What its body means.
    pub dialect: Dialect,
    /// The method.
    pub method: &'a Method,
    /// Path and query as they came.
    pub target: &'a str,
    /// The headers, without those of the connection.
    pub headers: &'a HeaderMap,
    /// Whether its `Host` goes upstream, and so may change the answer.
    pub host_counts: bool,
    /// The body.
    pub body: BodyDigest,
}

impl<'a> Request<'a> {
    /// From the head in `parts`.
    pub(crate) fn from_parts(
        parts: &'a Parts,
        route: &'a Route,
        dialect: Dialect,
        host_counts: bool,
        body: BodyDigest,
    ) -> Self {
        let Parts { method, uri, headers, .. } = parts;
        let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        Self { route, dialect, method, target, headers, host_counts, body }
    }
}

/// The body's part of a key: how the body is read, and the digest of what counts in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyDigest {
    taken_as: u8,
    digest: blake3::Hash,
}

impl BodyDigest {
    /// How a multipart body is read.
    const PARTS: u8 = b'm';

    /// Of a body that was sent to `route` in this dialect.
    pub fn new(route: &Route, dialect: Dialect, body: Body<'_>) -> Self {
        match body {
            Body::Bytes(bytes) => return Self { taken_as: b'b', digest: blake3::hash(bytes) },
            Body::Parts(parts) => return Self { taken_as: Self::PARTS, digest: digest_of_parts(parts) },
            Body::Json(_) | Body::Shared(..) => {}
        }
        let mut form = Vec::with_capacity(1024);
        write_normal_form(route, dialect, body, &mut form);
        let taken_as = if matches!(body, Body::Json(_)) { b'j' } else { b'i' };
        Self { taken_as, digest: blake3::hash(&form) }
    }

    /// The digest alone.
    pub const fn hash(&self) -> blake3::Hash {
        self.digest
    }

    pub(crate) const fn taken_as(&self) -> u8 {
        self.taken_as
    }

    /// Of another body that is read in the same way.
    pub(crate) const fn with(&self, digest: blake3::Hash) -> Self {
        Self { digest, ..*self }
    }
}

/// What counts of a body.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// The bytes, whatever they say.
    Bytes(&'a [u8]),
    /// The parts of a multipart body, whatever the boundary between them.
    Parts(&'a [Part<'a>]),
    /// What the JSON means, in its normal form.
    Json(&'a Json<'a>),
    /// Its meaning without these parts: what the inputs of a batch have in common.
    Shared(&'a Json<'a>, Unshared<'a>),
}

/// The digest of parts in their order, each as its head and its bytes with their lengths. They are hashed where they are,
/// since a part may be a large file.
fn digest_of_parts(parts: &[Part<'_>]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for bytes in parts.iter().flat_map(|part| [part.head.as_bytes(), part.bytes]) {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    hasher.finalize()
}

/// The digest of everything in `request` that can change its answer.
pub fn digest(request: &Request<'_>) -> blake3::Hash {
    whole_digest(&head_digest(request), request.body)
}

/// Like [`digest`], for a request whose head has the digest `head`.
pub(crate) fn whole_digest(head: &blake3::Hash, body: BodyDigest) -> blake3::Hash {
    // One block of hashing, and never the plain digest of some text.
    blake3::keyed_hash(head.as_bytes(), body.digest.as_bytes())
}

/// The digest of a head whose credentials `identity` stands for; `head` is the digest without them.
pub(crate) fn identified(head: &blake3::Hash, identity: &Identity) -> blake3::Hash {
    blake3::keyed_hash(head.as_bytes(), identity.hash().as_bytes())
}

/// The digest of a head whose query has these credentials; `head` is the digest without them.
pub(crate) fn with_credentials(head: &blake3::Hash, in_query: &blake3::Hash) -> blake3::Hash {
    let mut parts = Vec::with_capacity(128);
    for part in [&b"credentials in the query"[..], head.as_bytes(), in_query.as_bytes()] {
        write_part(part, &mut parts);
    }
    blake3::hash(&parts)
}

/// The digest of what counts besides the body: the route, the head, and how the body is read.
pub(crate) fn head_digest(request: &Request<'_>) -> blake3::Hash {
    let mut out = Vec::with_capacity(1024);
    write_part(VERSION, &mut out);
    write_route(request.route, request.dialect, &mut out);
    // A `HEAD` asks for what a `GET` gets.
    let method = if *request.method == Method::HEAD { &Method::GET } else { request.method };
    write_part(method.as_str().as_bytes(), &mut out);
    write_part(target_in_key(request.route, request.dialect, request.target).as_bytes(), &mut out);
    write_headers(request, &mut out);
    write_query_credentials(request, &mut out);
    out.push(request.body.taken_as);
    blake3::hash(&out)
}

/// Writes the route's name and every setting that leaves something out of the key. With other settings, the
/// same rest could be that of another request.
fn write_route(route: &Route, dialect: Dialect, out: &mut Vec<u8>) {
    // A route without a name of its own is called like its pattern, which may be that of one form.
    write_part(dialect.path_in_key(&route.name).as_bytes(), out);
    let meaning = match route.mode {
        Mode::Ttl => dialect.as_str(),
        Mode::Rfc9111 => "rfc9111",
    };
    write_part(meaning.as_bytes(), out);
    match &route.scope {
        Scope::Credential => out.push(b'c'),
        Scope::Shared => out.push(b's'),
        Scope::Headers(names) => {
            out.push(b'h');
            write_all(names.iter().map(HeaderName::as_str), out);
        }
        Scope::Identity(scope) => {
            out.push(b'i');
            write_part(scope.digest().as_bytes(), out);
        }
    }
    write_all(route.ignore_headers.iter().map(HeaderPattern::as_str), out);
    write_all(route.ignore.iter().map(Pointer::as_str), out);
    if !route.normalize.is_empty() {
        write_all(route.text.iter().flatten().map(Pointer::as_str), out);
        write_all(route.normalize.iter().map(|rule| rule.as_str()), out);
    }
    // Each of these begins with a text that is no method, which comes next in other keys.
    if !route.mask.is_empty() {
        write_part(b"masks of texts", out);
        write_all(route.mask.iter().map(Mask::as_str), out);
    }
    if let Some(parameters) = &route.vary_by {
        write_part(b"query parameters", out);
        write_all(parameters.iter().map(String::as_str), out);
    }
    if let (Some(streams), true) = (route.stream_default, !dialect.form_members().is_empty()) {
        write_part(if streams { b"streams by default" } else { b"documents by default" }, out);
    }
}

/// What counts of the path and the query `target`, but for credentials.
pub(crate) fn target_in_key<'t>(route: &Route, dialect: Dialect, target: &'t str) -> Cow<'t, str> {
    if route.vary_by.is_none() && !dialect.reads_query() {
        return Cow::Borrowed(target);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let counts = |pair: &&str| {
        let (name, _) = form_urlencoded::parse(pair.as_bytes()).next().unwrap_or_default();
        !pair.is_empty() && parameter_counts(route, dialect, &name)
    };
    let counting: Vec<_> = query.split('&').filter(counts).collect();
    Cow::Owned(format!("{}?{}", dialect.path_in_key(path), counting.join("&")))
}

/// Whether the query's parameter `name` is in the key as it is.
pub(crate) fn parameter_counts(route: &Route, dialect: Dialect, name: &str) -> bool {
    let parameters = route.vary_by.as_ref();
    parameters.is_none_or(|parameters| parameters.iter().any(|own| own == name))
        && !dialect.leaves_out_parameter(name)
}

/// The query's parameters that hold credentials and are in `route`'s keys, by name and value. Such a parameter counts
/// where the header that it replaces does.
pub(crate) fn query_credentials<'q>(
    route: &Route,
    dialect: Dialect,
    query: &'q str,
) -> impl Iterator<Item = (Cow<'q, str>, Cow<'q, str>)> {
    let query = if dialect.reads_query() { query } else { "" };
    form_urlencoded::parse(query.as_bytes()).filter(move |(name, _)| {
        dialect.credential_in_query(name).is_some_and(|header| is_keyed(route, dialect, header))
    })
}

pub(super) fn write_all<'a>(parts: impl Iterator<Item = &'a str> + Clone, out: &mut Vec<u8>) {
    out.extend_from_slice(&(parts.clone().count() as u64).to_le_bytes());
    for part in parts {
        write_part(part.as_bytes(), out);
    }
}

/// Whether the request header `name` is in `route`'s keys, for bodies in this dialect.
pub fn is_keyed(route: &Route, dialect: Dialect, name: &HeaderName) -> bool {
    if headers::is_credential(name) {
        return match &route.scope {
            // What stands for credentials is in the key in their place.
            Scope::Credential | Scope::Identity(_) => true,
            Scope::Shared => false,
            Scope::Headers(names) => names.contains(name),
        };
    }
    let is_named = || names(&route.scope, name);
    if route.mode == Mode::Rfc9111 {
        // `Vary` says what else counts. For a `QUERY`, the media type of its body counts (RFC 10008, section
        // 2.7).
        return is_named() || (name.as_str().starts_with("content-") && *name != header::CONTENT_LENGTH);
    }
    let left_out = headers::never_keyed(name)
        || (dialect.has_forms() && name == header::ACCEPT)
        || (dialect.is_a_vendors() && name == header::ACCEPT_LANGUAGE)
        || (dialect.is_json() && name == header::CONTENT_TYPE)
        || dialect.leaves_out_header(name)
        || any_matches(&route.ignore_headers, name);
    !left_out || is_named()
}

/// Whether the request header `name` tells apart all answers that differ by it, so that a service's `Vary` may name it.
pub(crate) fn tells_apart(route: &Route, dialect: Dialect, name: &HeaderName) -> bool {
    let is_replaced = || matches!(&route.scope, Scope::Identity(scope) if scope.replaces(name));
    let is_of_clients = || route.mode == Mode::Ttl && dialect.has_client_with_header(name);
    is_keyed(route, dialect, name) && (names(&route.scope, name) || !(is_replaced() || is_of_clients()))
}

/// Whether the scope names this header.
fn names(scope: &Scope, name: &HeaderName) -> bool {
    match scope {
        Scope::Headers(names) => names.contains(name),
        Scope::Identity(scope) => scope.names(name),
        Scope::Credential | Scope::Shared => false,
    }
}

/// Calls `each` with every header that can change the answer, but for `Host`.
pub(crate) fn each_keyed_header(
    route: &Route,
    dialect: Dialect,
    headers: &HeaderMap,
    mut each: impl FnMut(&HeaderName, &HeaderValue),
) {
    let keyed = headers.iter().filter(|(name, _)| counts(route, dialect, headers, name));
    keyed.for_each(|(name, value)| each(name, value));
}

/// Whether the header `name` among `headers` can change the answer.
fn counts(route: &Route, dialect: Dialect, headers: &HeaderMap, name: &HeaderName) -> bool {
    is_keyed(route, dialect, name)
        && !takes_all(headers, name)
        && !is_of_client(route, dialect, headers, name)
}

/// Whether the header `name` among `headers` tells of a known client alone.
fn is_of_client(route: &Route, dialect: Dialect, headers: &HeaderMap, name: &HeaderName) -> bool {
    route.mode == Mode::Ttl
        && dialect.leaves_out_header_of_client(headers, name)
        && !names(&route.scope, name)
}

/// The headers that can change the answer, sorted by name. The lines of one name stay in their order.
pub(crate) fn headers_in_key<'a>(request: &Request<'a>) -> Vec<(&'a HeaderName, &'a HeaderValue)> {
    let is_keyed_header = |name: &HeaderName| {
        (name == header::HOST && request.host_counts)
            || counts(request.route, request.dialect, request.headers, name)
    };
    let mut keyed: Vec<_> = request.headers.iter().filter(|(name, _)| is_keyed_header(name)).collect();
    keyed.sort_by_key(|(name, _)| name.as_str());
    keyed
}

/// Whether the header `name` accepts any media type or language, as a request without it does (RFC 9110,
/// sections 12.5.1 and 12.5.4).
fn takes_all(headers: &HeaderMap, name: &HeaderName) -> bool {
    let says = |value: &str| headers.get_all(name).iter().eq([value]);
    (*name == header::ACCEPT && says("*/*")) || (*name == header::ACCEPT_LANGUAGE && says("*"))
}

fn write_headers(request: &Request<'_>, out: &mut Vec<u8>) {
    let keyed = headers_in_key(request);
    out.extend_from_slice(&(keyed.len() as u64).to_le_bytes());
    for (name, value) in keyed {
        write_part(name.as_str().as_bytes(), out);
        if *name == header::CONTENT_TYPE && request.body.taken_as == BodyDigest::PARTS {
            // Without the boundary.
            write_part(headers::media_type(request.headers).unwrap_or_default().as_bytes(), out);
        } else if headers::is_credential(name) {
            // Hashed by itself, so that this buffer has no credential in it.
            write_part(blake3::hash(value.as_bytes()).as_bytes(), out);
        } else {
            write_part(value.as_bytes(), out);
        }
    }
}

/// Writes the credentials in the query, each hashed as a header's value is. Their names are no headers'.
fn write_query_credentials(request: &Request<'_>, out: &mut Vec<u8>) {
    let (_, query) = request.target.split_once('?').unwrap_or_default();
    for (name, value) in query_credentials(request.route, request.dialect, query) {
        write_part(b"?", out);
        write_part(name.as_bytes(), out);
        write_part(blake3::hash(value.as_bytes()).as_bytes(), out);
    }
}

/// Writes what counts of a JSON body (`canonical::read` shows it), and nothing of other bodies.
pub(crate) fn write_normal_form(route: &Route, dialect: Dialect, body: Body<'_>, out: &mut Vec<u8>) {
    let (json, members) = match &body {
        Body::Bytes(_) | Body::Parts(_) => return,
        Body::Json(json) => (json, Cow::Borrowed(dialect.form_members())),
        Body::Shared(json, unshared) => (json, Cow::Owned(unshared.members())),
    };
    let ignore = match body {
        Body::Shared(_, Unshared::List(list)) => {
            Cow::Owned([&route.ignore[..], std::slice::from_ref(list)].concat())
        }
        _ => Cow::Borrowed(&route.ignore[..]),
    };
    let text = match &route.text {
        _ if route.normalize.is_empty() => Vec::new(),
        Some(pointers) => pointers.clone(),
        None => dialect.text(),
    };
    let left_out = match body {
        Body::Json(json) => dialect.left_out(json),
        _ => Vec::new(),
    };
    let rules = canonical::Rules {
        ignore: &ignore,
        ignore_members: &members,
        left_out: &left_out,
        text: &text,
        normalize: &route.normalize,
        mask: &route.mask,
    };
    canonical::write(json, &rules, out);
}

#[cfg(test)]
mod tests;
