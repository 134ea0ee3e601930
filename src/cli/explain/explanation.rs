//! What the proxy makes of a request: found out as the proxy does, by [`classify`].

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, request::Parts};
use serde::Serialize;

use crate::{
    cache::{
        key::{self, Body, BodyDigest, Key, namespace::Namespace},
        route::{Mode, Route, Scope},
    },
    config::Config,
    dialect::{Dialect, Inputs},
    http::headers,
    json::{Json, canonical},
    proxy::state::classify_context,
    request::{
        self, CacheRequest, ClassifyContext,
        batch::Batch,
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
    /// Secrets hashed.
    pub(super) query: Option<String>,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    /// It goes to the upstream as it is.
    PassThrough {
        /// Why.
        passed: String,
    },
    /// It is answered by sidecache itself.
    Own {
        /// By what.
        own: &'static str,
    },
    /// It is one of a route's.
    Covered(Box<Covered>),
}

/// What is known of a request on a cacheable route.
#[derive(Debug, Serialize)]
pub(super) struct Covered {
    /// The route's name.
    pub(super) route: String,
    pub(super) builtin: bool,
    pub(super) kind: &'static str,
    /// In seconds; `None` where the upstream says how long an answer is fresh.
    pub(super) ttl: Option<f64>,
    pub(super) dialect: &'static str,
    pub(super) scope: String,
    /// The headers in the key, credentials hashed.
    pub(super) headers: Vec<(String, String)>,
    /// The names of the other headers.
    pub(super) left_out: Vec<String>,
    #[serde(flatten)]
    pub(super) body: Content,
    /// Of a request for vectors: its inputs, each with an entry of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) inputs: Vec<Input>,
    /// Why the store is not asked.
    pub(super) bypass: Option<&'static str>,
    pub(super) key: Option<String>,
}

/// A text to make a vector of.
#[derive(Debug, Serialize)]
pub(super) struct Input {
    /// As JSON.
    pub(super) input: String,
    pub(super) key: String,
}

/// A body as far as it counts, but for its inputs.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Content {
    /// By its meaning.
    Json {
        normal_form: String,
        /// The normal form itself.
        #[serde(skip)]
        form: Vec<u8>,
    },
    /// Byte for byte.
    Bytes { bytes: usize, blake3: String },
}

impl Explanation {
    /// What a proxy under `config` makes of this request.
    pub(super) fn of(config: &Config, mut parts: Parts, body: &Bytes) -> Self {
        let (method, path) = (parts.method.to_string(), parts.uri.path().to_owned());
        let query = parts.uri.query().map(hide_secrets);
        let routes: Vec<_> = config.routes.iter().cloned().map(Arc::new).collect();
        let outcome = match Dispatch::new(&config.health_path, &routes, &parts) {
            Dispatch::Health(_) => Outcome::Own { own: "the health page (health.path)" },
            Dispatch::PassThrough(PassThrough { covering, why, .. }) => {
                passed(reason(why, covering.map_or("", |route| &route.name), &method, &path))
            }
            Dispatch::Cacheable(route) => {
                headers::remove_hop_by_hop(&mut parts.headers);
                let head = RequestHead::new(route, &parts);
                let namespace = Namespace::leak(&config.store.namespace);
                let classify_context = classify_context(config, namespace);
                match request::classify(&head, &parts, body, &classify_context) {
                    Some(cache_request) => Outcome::Covered(Box::new(covered(
                        route,
                        &parts,
                        body,
                        &classify_context,
                        &cache_request,
                    ))),
                    None if !head.is_json => passed(format!(
                        "the built-in route {} covers JSON alone, and there is no Content-Type: application/json",
                        route.name
                    )),
                    None => passed(format!(
                        "the body is not what the built-in route {} covers (docs/CACHING.md, \"Which requests\")",
                        route.name
                    )),
                }
            }
        };
        Self { method, path, query, outcome }
    }
}

fn passed(why: String) -> Outcome {
    Outcome::PassThrough { passed: why }
}

/// Why a request is passed on that the route of this name covers, if any does.
fn reason(why: PassThroughReason, route: &str, method: &str, path: &str) -> String {
    match why {
        PassThroughReason::Uncovered => format!("no route covers {method} {path}"),
        PassThroughReason::NotCached => format!("the route {route} has cache = false"),
        PassThroughReason::Method => format!("the route {route} covers it, and {method} is not cached"),
        PassThroughReason::Upgrade => "it asks for an upgrade".to_owned(),
        PassThroughReason::Climbs => {
            "to the service its path may be another one, as it has a `.` or `..` segment".to_owned()
        }
    }
}

fn covered(
    route: &Route,
    parts: &Parts,
    body: &Bytes,
    classify_context: &ClassifyContext,
    cache_request: &CacheRequest,
) -> Covered {
    // A dialect's body was read already; without one it counts byte for byte.
    let json = match cache_request.dialect {
        Dialect::None => None,
        _ => Json::parse(body).ok(),
    };
    let inputs =
        json.as_ref().filter(|_| cache_request.batch.is_some()).and_then(|json| Inputs::find(body, json));
    let counts = match (&json, &inputs) {
        (None, _) => Body::Bytes(body),
        (Some(json), None) => Body::Json(json),
        (Some(json), Some(inputs)) => Body::Shared(json, inputs.unshared_members()),
    };
    let digest = BodyDigest::new(route, cache_request.dialect, counts);
    let request =
        key::Request::from_parts(parts, route, cache_request.dialect, classify_context.host_counts, digest);
    let kept = key::headers_in_key(&request);
    let mut left_out: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
    left_out.retain(|name| !kept.iter().any(|(own, _)| own.as_str() == *name));
    left_out.sort_unstable();
    Covered {
        route: route.name.clone(),
        builtin: route.builtin,
        kind: route.kind.as_str(),
        ttl: (route.mode == Mode::Ttl).then_some(route.ttl.as_secs_f64()),
        dialect: cache_request.dialect.as_str(),
        scope: scope(&route.scope),
        headers: kept.iter().map(|(name, value)| (name.to_string(), shown(name, value))).collect(),
        left_out: left_out.into_iter().map(str::to_owned).collect(),
        body: content(route, cache_request.dialect, counts),
        inputs: match (&cache_request.batch, &inputs, &json) {
            (Some(batch), Some(inputs), Some(json)) => with_keys(batch, inputs.values(json)),
            _ => Vec::new(),
        },
        bypass: cache_request.bypass.map(|reason| reason.as_str()),
        key: cache_request.key.as_ref().map(Key::name),
    }
}

/// Each input with the key of its entry.
fn with_keys(batch: &Batch, values: &[Json<'_>]) -> Vec<Input> {
    let with_key = |(value, number): (&Json<'_>, &usize)| Input {
        input: written(value),
        key: batch.keys()[*number].name(),
    };
    values.iter().zip(batch.order()).map(with_key).collect()
}

/// A value as JSON text.
pub(super) fn written(json: &Json<'_>) -> String {
    let mut text = Vec::new();
    json.write(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn content(route: &Route, dialect: Dialect, body: Body<'_>) -> Content {
    match body {
        Body::Bytes(bytes) => Content::Bytes { bytes: bytes.len(), blake3: hashed(bytes) },
        Body::Json(_) | Body::Shared(..) => {
            let mut form = Vec::new();
            key::write_normal_form(route, dialect, body, &mut form);
            let normal_form = written(&canonical::read(&form).unwrap_or_default());
            Content::Json { normal_form, form }
        }
    }
}

fn scope(scope: &Scope) -> String {
    match scope {
        Scope::Credential => "credential".to_owned(),
        Scope::Shared => "shared".to_owned(),
        Scope::Headers(names) => names.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", "),
    }
}

fn shown(name: &HeaderName, value: &HeaderValue) -> String {
    if headers::is_credential(name) {
        hashed(value.as_bytes())
    } else {
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    }
}

/// The beginning of a digest: enough to tell two values apart.
fn hashed(value: &[u8]) -> String {
    format!("blake3:{}", &blake3::hash(value).to_hex()[..16])
}

/// A query string in which what is secret is hashed.
fn hide_secrets(query: &str) -> String {
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if is_secret(&decode(name)) => format!("{name}={}", hashed(value.as_bytes())),
        _ => pair.to_owned(),
    });
    shown.collect::<Vec<_>>().join("&")
}
