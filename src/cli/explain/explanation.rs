//! What the proxy makes of a request. It asks the proxy's own functions: [`Dispatch::new`] and
//! [`cover::cover`].

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header, request::Parts};
use serde::Serialize;
use serde_json::Value;

use crate::{
    cache::{
        identity::{Caller, counting_headers},
        key::{self, Body, BodyDigest, Key, namespace::Namespace},
        route::{Mode, Route, Scope},
    },
    config::Config,
    dialect::{Dialect, Inputs},
    http::{
        headers,
        multipart::{self, Part},
    },
    json::{Json, canonical},
    proxy::state::classify_context,
    request::{
        CacheRequest, ClassifyContext,
        batch::Batch,
        body::RawBody,
        cover,
        dispatch::{Dispatch, PassThrough, PassThroughReason},
        head::RequestHead,
    },
    telemetry::log::query::{decode, is_secret},
};

/// What the proxy makes of a request.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    pub(super) method: String,
    pub(super) path: String,
    /// With secrets hashed.
    pub(super) query: Option<String>,
    /// The routes whose `when` does not hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tried: Vec<Tried>,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

/// A route that covers the request by its method and path alone.
#[derive(Debug, Serialize)]
pub(super) struct Tried {
    pub(super) route: String,
    /// The first of its conditions that does not hold.
    pub(super) unmet: String,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    PassThrough {
        /// The reason.
        passed: String,
    },
    /// sidecache answers it without the upstream and the store.
    OwnPage {
        /// The page's name.
        own: &'static str,
    },
    /// A cacheable route covers it.
    Covered(Box<Covered>),
}

#[derive(Debug, Serialize)]
pub(super) struct Covered {
    pub(super) route: String,
    pub(super) builtin: bool,
    /// `built in`, `file`, or the flag or the variable that gives the route.
    pub(super) origin: &'static str,
    pub(super) kind: &'static str,
    /// In seconds; `None` if the upstream says how long an answer is fresh.
    pub(super) ttl: Option<f64>,
    pub(super) dialect: &'static str,
    pub(super) scope: String,
    /// Who sent it, where the scope asks that; without any value of a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) caller: Option<String>,
    /// What stands for the credentials in the key, hashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<String>,
    #[serde(skip)]
    pub(super) in_key: InKey,
    /// The headers in the key, with credentials hashed, and those of the query, whose names begin with `?`.
    pub(super) headers: Vec<(String, String)>,
    /// The names of the other headers.
    pub(super) left_out: Vec<String>,
    #[serde(flatten)]
    pub(super) body: Content,
    /// The inputs of a request, where each has an entry of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) inputs: Vec<Input>,
    /// The reason for a bypass.
    pub(super) bypass: Option<&'static str>,
    pub(super) key: Option<String>,
    /// Whether the running sidecache can say what is nearest to it.
    #[serde(skip)]
    pub(super) is_by_meaning: bool,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) meaning: Option<Value>,
}

/// What counts of parts that a request in another form may have otherwise.
#[derive(Debug)]
pub(super) struct InKey {
    /// The route's name.
    pub(super) route: String,
    pub(super) path: String,
    /// With secrets hashed.
    pub(super) query: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Input {
    /// As JSON text.
    pub(super) input: String,
    pub(super) key: String,
}

/// What of the body is in the key, without inputs.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Content {
    Json {
        normal_form: String,
        /// The normal form's bytes, to compare.
        #[serde(skip)]
        form: Vec<u8>,
    },
    /// The body's bytes are in the key as they are.
    Bytes { bytes: usize, blake3: String },
    /// The parts of a multipart body are in the key in their order, and its boundary is not.
    Parts { parts: Vec<FormPart> },
}

/// A part of a multipart body.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct FormPart {
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<String>,
    /// The text of a field, if it is a short one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    pub(super) bytes: usize,
    /// Of the part's bytes.
    pub(super) blake3: String,
    /// Of its head, all lines of which are in the key.
    #[serde(skip)]
    pub(super) head: String,
}

/// The longest text of a field that is shown, in bytes.
const MAX_FIELD: usize = 256;

impl FormPart {
    fn new(part: &Part<'_>) -> Self {
        let is_short = part.file_name().is_none() && part.bytes.len() <= MAX_FIELD;
        let text = std::str::from_utf8(part.bytes).ok().filter(|_| is_short);
        Self {
            name: part.name().map(str::to_owned),
            file_name: part.file_name().map(str::to_owned),
            media_type: part.media_type().map(str::to_owned),
            text: text.map(str::to_owned),
            bytes: part.bytes.len(),
            blake3: short_hash(part.bytes),
            head: part.head.to_owned(),
        }
    }
}

impl fmt::Display for FormPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or("(no name)"))?;
        if let Some(text) = &self.text {
            return write!(f, " = {text:?}");
        }
        for more in [&self.file_name, &self.media_type].into_iter().flatten() {
            write!(f, ", {more}")?;
        }
        write!(f, ", {} bytes, {}", self.bytes, self.blake3)
    }
}

impl Explanation {
    /// Explains a request to a proxy with `config`.
    pub(super) fn new(config: &Config, mut parts: Parts, body: &Bytes) -> Self {
        let method = parts.method.to_string();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().map(hide_secrets);
        let routes: Vec<_> = config.routes.iter().cloned().map(Arc::new).collect();
        let mut tried = Vec::new();
        let outcome = match Dispatch::new(&config.health_path, &routes, &parts) {
            Dispatch::Health(_) => Outcome::OwnPage { own: "the health page (health.path)" },
            Dispatch::PassThrough(PassThrough { covering, why, .. }) => {
                pass_through(why, covering.map_or("", |route| &route.name), &method, &path)
            }
            Dispatch::Cacheable(route) => {
                headers::remove_hop_by_hop(&mut parts.headers);
                let head = Arc::new(RequestHead::new(route, &parts));
                let coding = head.coding;
                let decoded = coding.decode(body, config.limits.max_body);
                let raw = RawBody::received(body, coding, decoded.as_ref());
                let body = decoded.as_ref().unwrap_or(body);
                let namespace = Namespace::leak(&config.store.namespace);
                let classify_context = classify_context(config, namespace);
                tried = tried_routes(&head, &routes, &parts, &raw);
                match cover::cover(head, &routes, &parts, &raw, &classify_context) {
                    Ok((route, cache_request)) => Outcome::Covered(Box::new(explain_covered(
                        &route,
                        &parts,
                        body,
                        (&classify_context, config.jwks.is_some()),
                        &cache_request,
                    ))),
                    Err((route, why)) => {
                        pass_through(why, route.as_ref().map_or("", |route| &route.name), &method, &path)
                    }
                }
            }
        };
        Self { method, path, query, tried, outcome }
    }
}

fn tried_routes(
    head: &Arc<RequestHead>,
    routes: &[Arc<Route>],
    parts: &Parts,
    body: &RawBody<'_>,
) -> Vec<Tried> {
    let mut tried = Vec::new();
    for (_, route) in cover::candidates(head, routes, parts) {
        let Some(condition) = cover::unmet(route, head, body) else { break };
        tried.push(Tried { route: route.name.clone(), unmet: condition.as_str().to_owned() });
    }
    tried
}

/// `route` is the name of the route that covers the request, or empty.
fn pass_through(why: PassThroughReason, route: &str, method: &str, path: &str) -> Outcome {
    let passed = match why {
        PassThroughReason::Upgrade => "it asks for an upgrade".to_owned(),
        PassThroughReason::Uncovered => format!("no route covers {method} {path}"),
        PassThroughReason::Unmet => format!("no other route covers {method} {path}"),
        PassThroughReason::NotCached => format!("the route {route} has cache = false"),
        PassThroughReason::NamedMethod | PassThroughReason::Method => {
            format!("the route {route} covers it, and {method} is not cached")
        }
        PassThroughReason::Climbs => {
            "to the service its path may be another one, as it has a `.` or `..` segment".to_owned()
        }
        PassThroughReason::NotJson => format!(
            "the built-in route {route} covers JSON alone, and there is no Content-Type: application/json"
        ),
        PassThroughReason::TooLarge => {
            format!("the body is larger than limits.max_body, and the built-in route {route} is for files")
        }
        PassThroughReason::NotInDialect => format!(
            "the body is not what the built-in route {route} covers (docs/CACHING.md, \"Which requests\")"
        ),
    };
    Outcome::PassThrough { passed }
}

fn explain_covered(
    route: &Route,
    parts: &Parts,
    body: &Bytes,
    (classify_context, verifies): (&ClassifyContext, bool),
    cache_request: &CacheRequest,
) -> Covered {
    let json = Json::parse(body).ok().filter(|_| cache_request.dialect.is_json());
    let divided = json.as_ref().filter(|_| cache_request.batch.is_some());
    let division = route.division(cache_request.dialect);
    let inputs = divided.zip(division).and_then(|(json, division)| Inputs::find(division, body, json));
    let multipart = multipart::parts(&parts.headers, body);
    let keyed_body = match (&json, &inputs) {
        (None, _) => multipart.as_deref().map_or(Body::Bytes(body), Body::Parts),
        (Some(json), None) => Body::Json(json),
        (Some(json), Some(inputs)) => Body::Shared(json, inputs.unshared()),
    };
    let digest = BodyDigest::new(route, cache_request.dialect, keyed_body);
    let request =
        key::Request::from_parts(parts, route, cache_request.dialect, classify_context.host_counts, digest);
    let identity = cache_request.caller.as_ref().and_then(|caller| caller.identity.ok());
    let others = counting_headers(identity.as_ref(), &route.scope, &parts.headers);
    let keyed_headers = key::headers_in_key(&key::Request { headers: &others, ..request });
    let query_credentials =
        key::query_credentials(route, cache_request.dialect, parts.uri.query().unwrap_or_default());
    let mut left_out: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
    left_out.retain(|name| !keyed_headers.iter().any(|(own, _)| own.as_str() == *name));
    left_out.sort_unstable();
    Covered {
        route: route.name.clone(),
        builtin: route.builtin,
        origin: route.origin(),
        kind: route.kind.as_str(),
        ttl: (route.mode == Mode::Ttl).then_some(route.ttl.as_secs_f64()),
        dialect: cache_request.dialect.as_str(),
        scope: match cache_request.owner {
            Some(owner) => format!(
                "{}; the service keeps the answer for {}",
                show_scope(&route.scope),
                owner_name(&owner)
            ),
            None => show_scope(&route.scope),
        },
        caller: cache_request.caller.as_ref().map(|caller| show_caller(caller, verifies)),
        identity: identity.map(|identity| short_hash(identity.hash().as_bytes())),
        epoch: classify_context.epoch.clone(),
        in_key: in_key(&request),
        headers: keyed_headers
            .iter()
            .map(|(name, value)| {
                // Of a form's, the boundary does not count.
                let media = headers::media_type(&parts.headers)
                    .filter(|_| *name == header::CONTENT_TYPE && matches!(keyed_body, Body::Parts(_)));
                (name.to_string(), media.map_or_else(|| show_header(name, value), Cow::into_owned))
            })
            .chain(query_credentials.map(|(name, value)| (format!("?{name}"), short_hash(value.as_bytes()))))
            .collect(),
        left_out: left_out.into_iter().map(str::to_owned).collect(),
        body: content(route, cache_request.dialect, keyed_body),
        inputs: match (&cache_request.batch, &inputs, &json) {
            (Some(batch), Some(inputs), Some(json)) => with_keys(batch, inputs.values(json)),
            _ => Vec::new(),
        },
        bypass: cache_request.bypass.map(|reason| reason.as_str()),
        key: cache_request.key.as_ref().map(Key::name),
        is_by_meaning: route.semantic.is_some(),
        meaning: None,
    }
}

fn in_key(request: &key::Request<'_>) -> InKey {
    let target = key::target_in_key(request.route, request.dialect, request.target);
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(hide_secrets(query))),
        None => (target.into_owned(), None),
    };
    InKey { route: request.dialect.path_in_key(&request.route.name).into_owned(), path, query }
}

/// Each input with the key of its entry.
fn with_keys(batch: &Batch, values: &[Json<'_>]) -> Vec<Input> {
    let with_key = |(value, number): (&Json<'_>, &usize)| Input {
        input: value.to_json(),
        key: batch.keys()[*number].name(),
    };
    values.iter().zip(batch.order()).map(with_key).collect()
}

fn content(route: &Route, dialect: Dialect, body: Body<'_>) -> Content {
    match body {
        Body::Bytes(bytes) => Content::Bytes { bytes: bytes.len(), blake3: short_hash(bytes) },
        Body::Parts(parts) => Content::Parts { parts: parts.iter().map(FormPart::new).collect() },
        Body::Json(_) | Body::Shared(..) => {
            let mut form = Vec::new();
            key::write_normal_form(route, dialect, body, &mut form);
            let normal_form = canonical::read(&form).unwrap_or_default().to_json();
            Content::Json { normal_form, form }
        }
    }
}

fn show_scope(scope: &Scope) -> String {
    match scope {
        Scope::Credential => "credential".to_owned(),
        Scope::Shared => "shared".to_owned(),
        Scope::Headers(names) => names.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", "),
        Scope::Identity(scope) => scope.texts().join(", "),
    }
}

/// Whether `verifies`: there are keys of tokens.
fn show_caller(caller: &Caller, verifies: bool) -> String {
    match caller.identity {
        Ok(_) if verifies && caller.token.is_some() => {
            "by the scope, if the token holds by the keys of [jwks]; else by the whole credentials".to_owned()
        }
        Ok(_) => "by the scope; may read once the service has accepted the credentials".to_owned(),
        Err(fallback) => format!("by the whole credentials: {fallback}"),
    }
}

fn show_header(name: &HeaderName, value: &HeaderValue) -> String {
    if headers::is_credential(name) || is_secret(name.as_str()) {
        short_hash(value.as_bytes())
    } else {
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    }
}

/// The caller with these credentials, whose own hash is hashed once more as other values are.
fn owner_name(credentials: &blake3::Hash) -> String {
    format!("the caller {}", short_hash(credentials.as_bytes()))
}

/// The beginning of a hash, enough to tell two values apart.
fn short_hash(value: &[u8]) -> String {
    format!("blake3:{}", &blake3::hash(value).to_hex()[..16])
}

/// The query string with its secrets hashed.
fn hide_secrets(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if is_secret(&decode(name)) => format!("{name}={}", short_hash(value.as_bytes())),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}
