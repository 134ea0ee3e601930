//! Notes why requests did not hit, for operators. It never delays a request: where another one is just noting
//! something, this one is left out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, request::Parts};
use parking_lot::Mutex;

use crate::{
    cache::{
        identity::counting_headers,
        insight::{
            almost_hits::{AlmostHit, AlmostHits},
            parts::{self, PartKind, PartsBuilder},
            uncovered::{BodyType, Uncovered, UncoveredPath, UncoveredRequest},
        },
        key,
        route::{Mode, Route},
    },
    http::{headers, sse::Framing},
    json::Json,
    proxy::{context::RequestContext, exchange::Exchange},
};

/// So many misses are looked at, however fast they come, and so many more each second.
const AT_ONCE: u32 = 5_000;
const A_SECOND: u32 = 200;

/// What is noted, for as long as the process runs.
#[derive(Debug)]
pub(crate) struct Insight {
    started: Instant,
    /// How many misses may still be looked at, and up to which second that was counted.
    allowance: AtomicU32,
    counted_to: AtomicU32,
    /// `None` if it is switched off.
    almost_hits: Option<Mutex<AlmostHits>>,
    uncovered: Mutex<Uncovered>,
}

/// What a stored request is remembered by.
pub(crate) type Fingerprints = Arc<[u64]>;

impl Insight {
    /// Remembers stored requests in this many bytes; 0 switches that off (`insight.memory`).
    pub(crate) fn new(memory: u64) -> Self {
        let memory = usize::try_from(memory).unwrap_or(usize::MAX);
        let almost_hits = (memory > 0).then(|| Mutex::new(AlmostHits::new(memory)));
        Self {
            started: Instant::now(),
            allowance: AtomicU32::new(AT_ONCE),
            counted_to: AtomicU32::new(0),
            almost_hits,
            uncovered: Mutex::default(),
        }
    }

    fn now(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    /// Whether this miss is looked at. With very many, the others are not: to take a request apart costs a twentieth of
    /// what a miss costs.
    fn may_look(&self, now: u32) -> bool {
        let before = self.counted_to.swap(now, Ordering::Relaxed);
        if now > before {
            let more = (now - before).saturating_mul(A_SECOND);
            let allowed = self.allowance.load(Ordering::Relaxed).saturating_add(more).min(AT_ONCE);
            self.allowance.store(allowed, Ordering::Relaxed);
        }
        let less = |allowed: u32| allowed.checked_sub(1);
        self.allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Notes a miss. Returns what to remember once the answer is stored.
    pub(crate) fn missed(
        &self,
        context: &RequestContext,
        parts: &Parts,
        body: &Bytes,
    ) -> Option<Fingerprints> {
        let almost_hits = self.almost_hits.as_ref()?;
        let route = &*context.route;
        let now = self.now();
        if route.mode == Mode::Rfc9111 || !self.may_look(now) {
            return None;
        }
        let parts = take_apart(context, parts, body);
        let mut almost_hits = almost_hits.try_lock()?;
        almost_hits.missed(route.label(), &parts, now, seconds(route.ttl));
        Some(parts.fingerprints().collect())
    }

    /// Notes that the answer to such a request is stored.
    pub(crate) fn stored(&self, fingerprints: &[u64]) {
        if let Some(mut almost_hits) = self.almost_hits.as_ref().and_then(Mutex::try_lock) {
            almost_hits.stored(fingerprints, self.now());
        }
    }

    /// Notes a request that no route covers, whose body had this `hash`.
    pub(crate) fn uncovered(
        &self,
        exchange: &Exchange,
        question: BodyType,
        (status, headers): (StatusCode, &HeaderMap),
        hash: Option<u64>,
    ) {
        if let Some(mut uncovered) = self.uncovered.try_lock() {
            uncovered.add(&UncoveredRequest {
                method: exchange.method.as_str(),
                path: &exchange.path,
                question,
                answer: body_type(headers),
                succeeded: status == StatusCode::OK,
                hash,
            });
        }
    }

    /// What would have saved the most, those first.
    pub(crate) fn report(&self) -> (Vec<AlmostHit>, Vec<UncoveredPath>) {
        let almost_hits = self.almost_hits.as_ref().map(|almost_hits| almost_hits.lock().report());
        (almost_hits.unwrap_or_default(), self.uncovered.lock().report())
    }
}

/// What a body with these headers is.
pub(crate) fn body_type(headers: &HeaderMap) -> BodyType {
    if headers::is_json(headers) {
        BodyType::Json
    } else if Framing::from_headers(headers) == Framing::Whole {
        BodyType::Other
    } else {
        BodyType::Stream
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// The parts that are in the key of a request.
fn take_apart(context: &RequestContext, parts: &Parts, body: &Bytes) -> parts::Parts {
    let RequestContext { route, cache_request, exchange } = context;
    let dialect = cache_request.dialect;
    let mut builder = PartsBuilder::new(route.label());
    builder.add_fixed(dialect.path_in_key(&exchange.path).as_bytes());
    if let Some(owner) = &cache_request.owner {
        builder.add_fixed(owner.as_bytes());
    }
    let identity = cache_request.caller.as_ref().and_then(|caller| caller.identity.ok());
    if let Some(identity) = &identity {
        builder.add_fixed(identity.hash().as_bytes());
    }
    let headers = counting_headers(identity.as_ref(), &route.scope, &parts.headers);
    key::each_keyed_header(route, dialect, &headers, |name, value| {
        let kind = if headers::is_credential(name) { PartKind::Credential } else { PartKind::Header };
        builder.add(kind, name.as_str(), value.as_bytes());
    });
    let query = parts.uri.query().unwrap_or_default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if key::parameter_counts(route, dialect, &name) {
            builder.add(PartKind::Query, &name, value.as_bytes());
        }
    }
    for (name, value) in key::query_credentials(route, dialect, query) {
        builder.add(PartKind::Credential, &format!("?{name}"), value.as_bytes());
    }
    let left_out = if dialect.may_leave_out(body) { Json::parse(body).ok() } else { None };
    let left_out = left_out.map(|json| dialect.left_out(&json)).unwrap_or_default();
    let members = dialect.form_members();
    builder.add_body(body, &route.mask, |pointer, at| {
        left_out.iter().any(|own| own.at == at) || is_left_out(route, members, pointer)
    });
    builder.finish()
}

/// Whether the member at `pointer` is not in the key.
fn is_left_out(route: &Route, members: &[&str], pointer: &str) -> bool {
    let ends_there = |rest: &str| rest.is_empty() || rest.starts_with('/');
    let is_within = |ignored: &str| pointer.strip_prefix(ignored).is_some_and(ends_there);
    let first = pointer.strip_prefix('/').unwrap_or_default();
    members.iter().any(|member| first.strip_prefix(member).is_some_and(ends_there))
        || route.ignore.iter().any(|ignored| is_within(ignored.as_str()))
}
