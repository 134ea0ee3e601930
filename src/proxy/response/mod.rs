//! Responses: which headers are stored, which are passed on, and the response that an entry makes. Pure.

pub(crate) mod body;
pub(crate) mod filtered;
pub(crate) mod paced;

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::{
    cache::{
        entry::Entry,
        rfc9111::{
            conditional::{self, Conditions},
            range::Range,
        },
        route::{Identity, Mode, Replay, Route, SetCookie},
        status::{CacheReport, X_CACHE},
    },
    dialect::{self, Dialect, Rendered, usage::UsageOnHit},
    http::{
        headers::{self, forget_body},
        per_call::tells_of_one_call,
    },
    proxy::{
        body::BodyError, error::ProxyError, model_call::ModelCall, response::body::ResponseBody,
        response::paced::Paced,
    },
};

pub(crate) const X_PROCESS_TIME: HeaderName = HeaderName::from_static("x-process-time");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that sidecache sets itself, and the names that the upstream's own get.
const RENAMED: [(HeaderName, HeaderName); 2] = [
    (X_CACHE, HeaderName::from_static("x-upstream-cache")),
    (X_PROCESS_TIME, HeaderName::from_static("x-upstream-process-time")),
];

/// How many headers a response gets from sidecache: these two, and those of the cache report. A hit by meaning has two
/// more.
pub(crate) const MAX_ADDED_HEADERS: usize = 5;

/// A response, before it gets the headers that all responses get.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) response: Response<ResponseBody>,
    pub(crate) report: Option<CacheReport>,
    /// The model call that it saved, if it comes from the store.
    pub(crate) saved: Option<ModelCall>,
}

impl Reply {
    pub(crate) const fn new(response: Response<ResponseBody>, report: Option<CacheReport>) -> Self {
        Self { response, report, saved: None }
    }

    /// Becomes a 304 if `conditions` show that the client has the answer.
    pub(crate) fn not_modified_if(mut self, conditions: &Conditions) -> Self {
        if conditions.met_by(self.response.status(), self.response.headers()) {
            *self.response.status_mut() = StatusCode::NOT_MODIFIED;
            *self.response.body_mut() = ResponseBody::empty();
            conditional::strip_for_304(self.response.headers_mut());
        }
        self
    }

    /// Becomes the part that is asked for, if the answer comes from the store.
    pub(crate) fn slice_range(mut self, range: Option<&Range>) -> Self {
        let (Some(range), Some(_), Some(body)) = (range, &self.saved, self.response.body().bytes()) else {
            return self;
        };
        if let Some(part) = range.slice(self.response.status(), self.response.headers(), body) {
            *self.response.status_mut() = part.status;
            *self.response.body_mut() = part.body.into();
            let headers = self.response.headers_mut();
            headers.remove(header::CONTENT_LENGTH);
            headers.insert(header::CONTENT_RANGE, part.content_range);
        }
        self
    }
}

/// Why there is no reply.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of this very request, reported with its cache report. It is logged when it is answered.
    Request(ProxyError, Option<CacheReport>),
    /// The error of a fill, which all its readers share. The fill has logged it.
    Fill(Arc<ProxyError>, Option<CacheReport>),
    /// The client stalled or left: its connection is closed without a response.
    ClientGone(BodyError),
}

impl From<ProxyError> for Failure {
    fn from(error: ProxyError) -> Self {
        Self::Request(error, None)
    }
}

/// The headers of an answer that are stored with it, and that followers get. With `mode = "rfc9111"`, HTTP
/// says which headers a cache stores.
pub(crate) fn headers_to_store(route: &Route, headers: &HeaderMap) -> HeaderMap {
    let left_out = |name: &HeaderName| {
        // The length is that of the stored body; the others are about one response alone.
        [header::CONTENT_LENGTH, header::AGE, X_REQUEST_ID].contains(name)
            || (route.set_cookie == SetCookie::Strip && *name == header::SET_COOKIE)
            || (route.mode == Mode::Ttl && tells_of_one_call(name))
            || headers::any_matches(&route.drop_headers, name)
    };
    headers
        .iter()
        .filter(|(name, _)| !left_out(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The headers and the body of an entry, in the form that the request asks for.
pub(crate) fn stored_parts(
    route: &Route,
    dialect: Dialect,
    entry: Entry,
    served: Rendered,
    now: SystemTime,
) -> (HeaderMap, Bytes) {
    let Entry { mut headers, body, .. } = entry;
    let body = match served {
        Rendered::AsStored => body,
        Rendered::Edited(body) => body,
        Rendered::Converted(media, body) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
            forget_body(&mut headers);
            body
        }
    };
    let body = match route.identity {
        Identity::Recorded => body,
        Identity::Fresh => dialect::renewed(dialect, route.framing(&headers), &body, now),
    };
    (headers, body)
}

/// The response that an entry makes, in the form that the request asks for.
pub(crate) fn from_entry(
    route: &Route,
    dialect: Dialect,
    mut entry: Entry,
    served: Rendered,
    now: SystemTime,
) -> Response<ResponseBody> {
    let status = entry.status;
    let pace = std::mem::take(&mut entry.pace);
    // A stream that is made of a document has no recorded pace.
    let recorded = if matches!(served, Rendered::AsStored) { &pace[..] } else { &[] };
    let (mut headers, mut body) = stored_parts(route, dialect, entry, served, now);
    if route.usage_on_hit == UsageOnHit::Zero
        && let Some(zero) = dialect::with_zero_usage(dialect, route.framing(&headers), &body)
    {
        forget_body(&mut headers);
        body = zero;
    }
    let paced = match route.replay {
        Replay::AtOnce => None,
        replay => Paced::new(replay, route.framing(&headers), &body, recorded),
    };
    let body = paced.map_or_else(|| ResponseBody::from(body), |paced| ResponseBody::Paced(Box::new(paced)));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Takes out of an upstream's headers those that are not passed on, and renames those that sidecache sets itself.
pub(crate) fn strip_upstream_headers(headers: &mut HeaderMap) {
    // RFC 9112, section 6.3: a transfer coding overrides a length, and a proxy removes the length.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    headers::remove_hop_by_hop(headers);
    for (own, renamed) in RENAMED {
        headers::rename(headers, &own, &renamed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_gives_way_to_a_transfer_coding() {
        let mut headers = HeaderMap::new();
        headers.insert("content-length", HeaderValue::from_static("3"));
        headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        strip_upstream_headers(&mut headers);
        assert!(headers.is_empty());
    }
}
