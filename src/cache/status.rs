//! What clients and the log learn about the cache: `X-Cache`, `Cache-Status` (RFC 9211) and `Age`. Pure.

use std::fmt::{self, Write};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::{
    cache::{key::Key, route::kind::Kind, semantic::rounded_similarity},
    http::headers::{self, ValueWriter},
    reason::Reason,
};

pub(crate) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// How near the question is whose answer is served, between -1 and 1.
const SIDECACHE_SIMILARITY: HeaderName = HeaderName::from_static("sidecache-similarity");
/// The key of that question.
const SIDECACHE_ORIGINAL: HeaderName = HeaderName::from_static("sidecache-original");

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheStatus {
    /// From the store.
    Hit,
    /// By the upstream, after a lookup.
    Miss,
    /// Some of its inputs from the store, the others by the upstream.
    Partial,
    /// From the store, after the answer's TTL.
    Stale,
    /// From the store, by the answer to a question in other words.
    Similar,
    /// By an answer that the upstream is giving to another request.
    Coalesced,
    /// By the upstream, without a lookup.
    Bypass,
    /// By the upstream, since no route covers the request.
    Pass,
}

impl CacheStatus {
    /// Every one, in the order of the enum.
    pub(crate) const ALL: [Self; 8] = [
        Self::Hit,
        Self::Miss,
        Self::Partial,
        Self::Stale,
        Self::Similar,
        Self::Coalesced,
        Self::Bypass,
        Self::Pass,
    ];

    /// As in `X-Cache`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Partial => "PARTIAL",
            Self::Stale => "STALE",
            Self::Similar => "SIMILAR",
            Self::Coalesced => "COALESCED",
            Self::Bypass => "BYPASS",
            Self::Pass => "PASS",
        }
    }
}

/// Why a request went to the upstream, in the words of RFC 9211, section 2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    /// Nothing was stored for it.
    UriMiss,
    /// The stored answers are for requests with other headers.
    VaryMiss,
    /// The stored answer has another form, or is not for this client.
    Miss,
    /// Only a part of the answer was stored.
    Partial,
    /// The stored answer is stale.
    Stale,
    /// The request wanted it.
    Request,
    /// The store was not asked.
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

/// The question whose answer stands in for the answer to another one.
#[derive(Clone, Debug)]
pub(crate) struct SimilarTo {
    pub(crate) original: Key,
    /// Between -1 and 1.
    pub(crate) similarity: f32,
}

/// How the cache took part in an answer, for headers and the log.
#[derive(Clone, Debug)]
pub(crate) struct CacheReport {
    /// How the request was answered.
    pub(crate) status: CacheStatus,
    /// The route's kind; `None` if no route covers the request.
    pub(crate) kind: Option<Kind>,
    pub(crate) key: Option<Key>,
    /// Why the request went to the upstream, and the status that came back.
    pub(crate) forward: Option<(Forward, Option<StatusCode>)>,
    /// Whether the answer was stored; `None` if that is not known yet.
    pub(crate) stored: Option<bool>,
    /// The age of a stored answer, in seconds.
    pub(crate) age: Option<u64>,
    /// How long the stored answer is still fresh, in seconds; negative if it is stale.
    pub(crate) ttl: Option<i64>,
    /// Why the store was not asked, or why the answer was not stored.
    pub(crate) reason: Option<Reason>,
    /// For a miss: why the last answer was not stored.
    pub(crate) last_not_stored: Option<Reason>,
    /// For embeddings: how many of the inputs were found, and how many there are.
    pub(crate) inputs: Option<(usize, usize)>,
    /// For a hit by meaning: whose answer it is.
    pub(crate) similar: Option<Box<SimilarTo>>,
}

impl CacheReport {
    /// A request for which the store was not asked.
    pub(crate) const fn bypass(kind: Kind, reason: Reason) -> Self {
        let forward = match reason {
            Reason::RequestNoStore | Reason::RequestNoCache => Forward::Request,
            _ => Forward::Bypass,
        };
        Self::forwarded(CacheStatus::Bypass, Some(kind), None, forward, Some(reason))
    }

    /// A request that is passed through.
    pub(crate) const fn pass(reason: Reason) -> Self {
        Self::forwarded(CacheStatus::Pass, None, None, Forward::Bypass, Some(reason))
    }

    /// A request that goes to the upstream after a lookup.
    pub(crate) const fn miss(kind: Kind, key: Key, forward: Forward) -> Self {
        Self::forwarded(CacheStatus::Miss, Some(kind), Some(key), forward, None)
    }

    /// A request that goes to the upstream.
    pub(crate) const fn forwarded(
        status: CacheStatus,
        kind: Option<Kind>,
        key: Option<Key>,
        forward: Forward,
        reason: Option<Reason>,
    ) -> Self {
        let forward = Some((forward, None));
        Self {
            status,
            kind,
            key,
            forward,
            stored: None,
            age: None,
            ttl: None,
            reason,
            last_not_stored: None,
            inputs: None,
            similar: None,
        }
    }

    /// A request that was answered from the store.
    pub(crate) const fn hit(kind: Kind, key: Key, age: u64, ttl: i64) -> Self {
        Self {
            status: CacheStatus::Hit,
            kind: Some(kind),
            key: Some(key),
            forward: None,
            stored: None,
            age: Some(age),
            ttl: Some(ttl),
            reason: None,
            last_not_stored: None,
            inputs: None,
            similar: None,
        }
    }

    pub(crate) fn stale(self) -> Self {
        Self { status: CacheStatus::Stale, ..self }
    }

    /// A hit on the answer to a question in other words.
    pub(crate) fn similar(self, original: Key, similarity: f32) -> Self {
        let similar = Some(Box::new(SimilarTo { original, similarity }));
        Self { status: CacheStatus::Similar, similar, ..self }
    }

    /// A hit that the upstream has confirmed, with its age and its remaining TTL.
    pub(crate) fn revalidated(self, age: u64, ttl: i64) -> Self {
        let forward = self.forward.map(|(forward, _)| (forward, Some(StatusCode::NOT_MODIFIED)));
        Self { status: CacheStatus::Hit, forward, age: Some(age), ttl: Some(ttl), ..self }
    }

    /// Writes `X-Cache`, `Cache-Status` and `Age`; for a hit by meaning, `Sidecache-Similarity` and `Sidecache-Original`.
    pub(crate) fn write(&self, headers: &mut HeaderMap, values: &mut ValueWriter) {
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
        if let Some(similar) = &self.similar {
            let similarity = rounded_similarity(similar.similarity);
            if let Some(similarity) = values.value(|text| write!(text, "{similarity}")) {
                headers.insert(SIDECACHE_SIMILARITY, similarity);
            }
            if let Some(original) = values.value(|text| similar.original.write(text)) {
                headers.insert(SIDECACHE_ORIGINAL, original);
            }
        }
    }

    /// Writes sidecache's member of `Cache-Status` (RFC 9211, section 2).
    fn write_cache_status(&self, text: &mut impl Write) -> fmt::Result {
        text.write_str("sidecache")?;
        match &self.forward {
            None if matches!(self.status, CacheStatus::Hit | CacheStatus::Stale | CacheStatus::Similar) => {
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
        if self.status == CacheStatus::Similar {
            return text.write_str("; detail=similar");
        }
        match (self.found(), self.reason) {
            (Some(found), Some(reason)) => write!(text, "; detail=\"{found} {}\"", reason.as_str()),
            (Some(found), None) => write!(text, "; detail=\"{found}\""),
            (None, Some(reason)) => write!(text, "; detail={}", reason.as_str()),
            (None, None) => match self.last_not_stored {
                Some(last) if self.status == CacheStatus::Miss => {
                    write!(text, "; detail=last-not-stored:{}", last.as_str())
                }
                _ => Ok(()),
            },
        }
    }

    /// As in `hits=3/8`, for embeddings.
    pub(crate) fn found(&self) -> Option<String> {
        self.inputs.map(|(hits, all)| format!("hits={hits}/{all}"))
    }
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
            cache_status(CacheReport::hit(Kind::Query, key.clone(), 5, 1795).similar(key.clone(), 0.97)),
            format!("sidecache; hit; ttl=1795; key=\"ns:query:{zeros}\"; detail=similar")
        );
        assert_eq!(
            cache_status(CacheReport::bypass(Kind::Query, Reason::RequestNoStore)),
            "sidecache; fwd=request; detail=request-no-store"
        );
        assert_eq!(
            cache_status(CacheReport::pass(Reason::NoRoute)),
            "sidecache; fwd=bypass; detail=no-route"
        );
        let unasked =
            CacheReport { forward: None, ..CacheReport::miss(Kind::Query, key.clone(), Forward::UriMiss) };
        assert_eq!(cache_status(unasked), format!("sidecache; key=\"ns:query:{zeros}\""));
        let mut miss = CacheReport { key: None, ..CacheReport::miss(Kind::Query, key, Forward::UriMiss) };
        miss.forward = Some((Forward::UriMiss, Some(StatusCode::OK)));
        miss.stored = Some(true);
        assert_eq!(cache_status(miss.clone()), "sidecache; fwd=uri-miss; fwd-status=200; stored");
        miss.stored = None;
        miss.last_not_stored = Some(Reason::Length);
        let last = "sidecache; fwd=uri-miss; fwd-status=200; detail=last-not-stored:length";
        assert_eq!(cache_status(miss.clone()), last);
        // What is known of this answer counts, and what others wait for has no last one.
        let known = CacheReport { reason: Some(Reason::Empty), ..miss.clone() };
        assert_eq!(cache_status(known), "sidecache; fwd=uri-miss; fwd-status=200; detail=empty");
        let counted = CacheReport { inputs: Some((0, 2)), ..miss.clone() };
        assert_eq!(cache_status(counted), "sidecache; fwd=uri-miss; fwd-status=200; detail=\"hits=0/2\"");
        let joined = CacheReport { status: CacheStatus::Coalesced, ..miss };
        assert_eq!(cache_status(joined), "sidecache; fwd=uri-miss; fwd-status=200; collapsed");
    }

    #[test]
    fn a_hit_by_meaning_says_whose_answer_it_is() {
        let key = |byte| Key::new("ns".into(), Kind::Query, blake3::Hash::from_bytes([byte; 32]));
        for (similarity, shown) in [(0.97, "0.97"), (0.973_14, "0.9731"), (1.0, "1"), (0.99996, "1")] {
            let mut headers = HeaderMap::new();
            let report = CacheReport::hit(Kind::Query, key(1), 5, 1795).similar(key(2), similarity);
            report.write(&mut headers, &mut ValueWriter::default());
            let named = |name: &str| headers[name].to_str().expect("text");
            assert_eq!((named("x-cache"), named("age")), ("SIMILAR", "5"));
            assert_eq!(named("sidecache-similarity"), shown);
            assert_eq!(named("sidecache-original"), key(2).name());
        }
        let mut headers = HeaderMap::new();
        CacheReport::hit(Kind::Query, key(1), 5, 1795).write(&mut headers, &mut ValueWriter::default());
        assert!(!headers.keys().any(|name| name.as_str().starts_with("sidecache-")), "{headers:?}");
    }
}
