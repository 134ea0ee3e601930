//! Responses: what sidecache adds to a head, and what it tells of the cache. Pure.

use std::{
    fmt::{self, Write},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::{
    body::{BodyError, ResponseBody},
    conditional::{self, Conditions},
    dialect::{self, Dialect, Served, sse::Framing},
    entry::{Entry, Usage},
    error::ProxyError,
    headers::{self, Values},
    key::Key,
    paced::Paced,
    policy::Reason,
    range::Range,
    route::{Identity, Kind, Replay, Route, SetCookie},
};

/// `X-Cache`
pub const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
/// `X-Process-Time`
pub const X_PROCESS_TIME: HeaderName = HeaderName::from_static("x-process-time");
/// `X-Request-ID`
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How many headers a response gets here at most: these, and `Age`.
pub const ADDED: usize = 5;

/// How a request on a cacheable route was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// From the store.
    Hit,
    /// By the upstream, after a lookup.
    Miss,
    /// Some of its inputs from the store, the others by the upstream.
    Partial,
    /// From the store, after the answer's TTL.
    Stale,
    /// By an answer that another request had asked for already.
    Coalesced,
    /// By the upstream, without a lookup.
    Bypass,
}

impl CacheStatus {
    /// The value of `X-Cache`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Partial => "PARTIAL",
            Self::Stale => "STALE",
            Self::Coalesced => "COALESCED",
            Self::Bypass => "BYPASS",
        }
    }
}

/// The headers that tell of a body as it came: of one that was made here they would tell something wrong.
const OF_THE_BODY: [HeaderName; 3] = [header::ETAG, header::LAST_MODIFIED, header::CACHE_CONTROL];

/// Why a request went to the upstream, in the words of RFC 9211, section 2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Nothing was stored for it.
    UriMiss,
    /// What was stored is for requests with other headers.
    VaryMiss,
    /// What was stored is another form of the answer, or not for this caller.
    Miss,
    /// What was stored is a part of the answer.
    Partial,
    /// What was stored is stale.
    Stale,
    /// The request asked for it.
    Request,
    /// The cache was not asked.
    Bypass,
}

impl Forward {
    const fn as_str(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Partial => "partial",
            Self::Stale => "stale",
            Self::Request => "request",
            Self::Bypass => "bypass",
        }
    }
}

/// What is told of the cache, in headers and in the log.
#[derive(Clone, Debug)]
pub struct CacheReport {
    /// How the request was answered.
    pub status: CacheStatus,
    /// The route's kind.
    pub kind: Kind,
    /// The key, where there is one.
    pub key: Option<Key>,
    /// Why it went to the upstream, and the status that came back.
    pub forward: Option<(Forward, Option<StatusCode>)>,
    /// Whether the answer was stored; `None` where that is not known yet.
    pub stored: Option<bool>,
    /// The age of a stored answer, in seconds.
    pub age: Option<u64>,
    /// How long the stored answer is fresh yet, in seconds; negative where it is stale.
    pub ttl: Option<i64>,
    /// Why the store was not asked, or the answer not stored.
    pub reason: Option<Reason>,
    /// Of several inputs, how many were found, and how many there are.
    pub inputs: Option<(usize, usize)>,
}

impl CacheReport {
    /// A request for which the store was not asked.
    pub const fn bypass(kind: Kind, reason: Reason) -> Self {
        let forward = match reason {
            Reason::RequestNoStore | Reason::RequestNoCache => Forward::Request,
            _ => Forward::Bypass,
        };
        Self::forwarded(CacheStatus::Bypass, kind, None, forward, Some(reason))
    }

    /// A request that goes to the upstream after a lookup.
    pub const fn miss(kind: Kind, key: Key, forward: Forward) -> Self {
        Self::forwarded(CacheStatus::Miss, kind, Some(key), forward, None)
    }

    /// A request that goes to the upstream.
    pub const fn forwarded(
        status: CacheStatus,
        kind: Kind,
        key: Option<Key>,
        forward: Forward,
        reason: Option<Reason>,
    ) -> Self {
        let forward = Some((forward, None));
        Self { status, kind, key, forward, stored: None, age: None, ttl: None, reason, inputs: None }
    }

    /// A request that was answered from the store.
    pub const fn hit(kind: Kind, key: Key, age: u64, ttl: i64) -> Self {
        Self {
            status: CacheStatus::Hit,
            kind,
            key: Some(key),
            forward: None,
            stored: None,
            age: Some(age),
            ttl: Some(ttl),
            reason: None,
            inputs: None,
        }
    }

    /// The same of an answer that is stale.
    pub fn stale(self) -> Self {
        Self { status: CacheStatus::Stale, ..self }
    }

    /// The same of an answer that the upstream has confirmed, and that is this old and fresh for so long yet.
    pub fn confirmed(self, age: u64, ttl: i64) -> Self {
        let forward = self.forward.map(|(forward, _)| (forward, Some(StatusCode::NOT_MODIFIED)));
        Self { status: CacheStatus::Hit, forward, age: Some(age), ttl: Some(ttl), ..self }
    }

    /// Writes `X-Cache`, `Cache-Status` and `Age`.
    pub fn write(&self, headers: &mut HeaderMap, values: &mut Values) {
        headers.insert(X_CACHE, HeaderValue::from_static(self.status.as_str()));
        let age =
            self.age.and_then(|age| values.value(|text| text.write_str(itoa::Buffer::new().format(age))));
        if let Some(age) = age {
            headers.insert(header::AGE, age);
        }
        if let Some(value) = values.value(|text| self.write_cache_status(text)) {
            // After what caches nearer to the upstream say (RFC 9211, section 2).
            headers::append_item(headers, CACHE_STATUS, value);
        }
    }

    /// Writes the member of `Cache-Status` (RFC 9211, section 2) that is ours.
    fn write_cache_status(&self, text: &mut impl Write) -> fmt::Result {
        text.write_str("sidecache")?;
        match &self.forward {
            None if matches!(self.status, CacheStatus::Hit | CacheStatus::Stale) => {
                text.write_str("; hit")?
            }
            None => {}
            Some((forward, None)) => write!(text, "; fwd={}", forward.as_str())?,
            Some((forward, Some(status))) => {
                write!(text, "; fwd={}; fwd-status={}", forward.as_str(), status.as_u16())?;
            }
        }
        if self.status == CacheStatus::Coalesced {
            text.write_str("; collapsed")?;
        }
        if let Some(ttl) = self.ttl {
            text.write_str("; ttl=")?;
            text.write_str(itoa::Buffer::new().format(ttl))?;
        }
        if self.stored == Some(true) {
            text.write_str("; stored")?;
        }
        if let Some(key) = &self.key {
            text.write_str("; key=\"")?;
            key.write(text)?;
            text.write_char('"')?;
        }
        match (self.found(), self.reason) {
            (Some(found), Some(reason)) => write!(text, "; detail=\"{found} {}\"", reason.as_str()),
            (Some(found), None) => write!(text, "; detail=\"{found}\""),
            (None, Some(reason)) => write!(text, "; detail={}", reason.as_str()),
            (None, None) => Ok(()),
        }
    }

    /// How many of several inputs were found, as in `hits=3/8`.
    pub fn found(&self) -> Option<String> {
        self.inputs.map(|(hits, all)| format!("hits={hits}/{all}"))
    }
}

/// A response on its way, before what all responses get.
#[derive(Debug)]
pub struct Reply {
    /// It.
    pub response: Response<ResponseBody>,
    /// What the cache did.
    pub report: Option<CacheReport>,
    /// The call of a model that it saved, where it comes from the store.
    pub hit: Option<Saved>,
}

/// The call of a model that a hit saved.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The model, where the answer names one.
    pub model: Option<String>,
    /// The tokens it took.
    pub usage: Usage,
}

impl Saved {
    /// The call that gave `entry`, which loses its model's name.
    pub fn by(entry: &mut Entry) -> Self {
        Self { model: entry.model.take(), usage: entry.usage.unwrap_or_default() }
    }
}

impl Reply {
    /// A response that is no hit.
    pub const fn new(response: Response<ResponseBody>, report: Option<CacheReport>) -> Self {
        Self { response, report, hit: None }
    }

    /// The same, or a 304 where `conditions` show that the client has it.
    pub fn unless(mut self, conditions: &Conditions) -> Self {
        if conditions.met_by(self.response.status(), self.response.headers()) {
            *self.response.status_mut() = StatusCode::NOT_MODIFIED;
            *self.response.body_mut() = ResponseBody::Full(None);
            conditional::strip_for_304(self.response.headers_mut());
        }
        self
    }

    /// The same, or the part of it that is asked for, where it comes from the store.
    pub fn part(self, range: Option<&Range>) -> Self {
        match (range, &self.hit) {
            (Some(range), Some(_)) => Self { response: range.cut(self.response), ..self },
            _ => self,
        }
    }
}

/// Why there is no reply.
#[derive(Debug)]
pub enum Failure {
    /// The caller is told, and the log.
    Told(ProxyError, Option<CacheReport>),
    /// The caller is told; the fill that failed has told the log.
    Fill(Arc<ProxyError>, Option<CacheReport>),
    /// The client stalled or left: its connection is closed without a word.
    Gone(BodyError),
}

impl From<ProxyError> for Failure {
    fn from(error: ProxyError) -> Self {
        Self::Told(error, None)
    }
}

/// The headers of an answer that are stored with it.
pub fn headers_to_store(route: &Route, headers: &HeaderMap) -> HeaderMap {
    let left_out = |name: &HeaderName| {
        // The length is the stored body's; the others tell of one response alone.
        [header::CONTENT_LENGTH, header::AGE, X_REQUEST_ID].contains(name)
            || (route.set_cookie == SetCookie::Strip && *name == header::SET_COOKIE)
            || headers::any_matches(&route.drop_headers, name)
    };
    headers
        .iter()
        .filter(|(name, _)| !left_out(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Takes out of a head what tells of the body as it came, in whose place another one goes.
pub fn forget_body(headers: &mut HeaderMap) {
    for name in OF_THE_BODY {
        headers.remove(name);
    }
}

/// The headers and the body that an entry holds, in the form that was asked for.
pub fn stored_parts(
    route: &Route,
    dialect: Dialect,
    entry: Entry,
    served: Served,
    now: SystemTime,
) -> (HeaderMap, Bytes) {
    let Entry { mut headers, body, .. } = entry;
    let body = match served {
        Served::AsStored => body,
        Served::Shown(body) => body,
        Served::Made(media, body) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
            forget_body(&mut headers);
            body
        }
    };
    let body = match route.identity {
        Identity::Recorded => body,
        Identity::Fresh => dialect::renewed(dialect, Framing::of_headers(&headers), &body, now),
    };
    (headers, body)
}

/// The response that an entry holds, in the form that was asked for.
pub fn from_entry(
    route: &Route,
    dialect: Dialect,
    mut entry: Entry,
    served: Served,
    now: SystemTime,
) -> Response<ResponseBody> {
    let (status, pace) = (entry.status, std::mem::take(&mut entry.pace));
    // A made stream never came at a pace of its own.
    let recorded = if matches!(served, Served::AsStored) { &pace[..] } else { &[] };
    let (headers, body) = stored_parts(route, dialect, entry, served, now);
    let paced = match route.replay {
        Replay::AtOnce => None,
        replay => Paced::new(replay, Framing::of_headers(&headers), &body, recorded),
    };
    let body = paced.map_or_else(|| ResponseBody::from(body), |paced| ResponseBody::Paced(Box::new(paced)));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A response with a JSON body.
pub fn json(status: StatusCode, body: Vec<u8>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Takes out of an upstream's head what is not passed on.
pub fn clean(headers: &mut HeaderMap) {
    // RFC 9112, section 6.3: a transfer coding overrides a length, and a proxy removes the length.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    headers::remove_hop_by_hop(headers);
    headers.remove(X_PROCESS_TIME);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_status_says_what_happened() {
        let cache_status = |report: CacheReport| {
            let mut text = String::new();
            report.write_cache_status(&mut text).expect("text");
            text
        };
        let key = Key::new("ns".into(), Kind::Query, blake3::Hash::from_bytes([0; 32]));
        let zeros = "0".repeat(64);
        assert_eq!(
            cache_status(CacheReport::hit(Kind::Query, key.clone(), 5, 1795)),
            format!("sidecache; hit; ttl=1795; key=\"ns:query:{zeros}\"")
        );
        assert_eq!(
            cache_status(CacheReport::bypass(Kind::Query, Reason::RequestNoStore)),
            "sidecache; fwd=request; detail=request-no-store"
        );
        let unasked =
            CacheReport { forward: None, ..CacheReport::miss(Kind::Query, key.clone(), Forward::UriMiss) };
        assert_eq!(cache_status(unasked), format!("sidecache; key=\"ns:query:{zeros}\""));
        let mut miss = CacheReport { key: None, ..CacheReport::miss(Kind::Query, key, Forward::UriMiss) };
        miss.forward = Some((Forward::UriMiss, Some(StatusCode::OK)));
        miss.stored = Some(true);
        assert_eq!(cache_status(miss), "sidecache; fwd=uri-miss; fwd-status=200; stored");
    }

    #[test]
    fn a_length_gives_way_to_a_transfer_coding() {
        let mut headers = HeaderMap::new();
        headers.insert("content-length", HeaderValue::from_static("3"));
        headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        headers.insert("x-process-time", HeaderValue::from_static("1"));
        clean(&mut headers);
        assert!(headers.is_empty());
    }
}
