//! The `http_request` and `http_response` lines.

use std::{net::IpAddr, time::Duration};

use serde::Serialize;
use tracing::Level;

use super::{REQUEST, millis};
use crate::{cache::key::Key, http::hex::Hex, telemetry::log::query::QueryParams};

#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpRequest<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) method: &'a str,
    /// The path, without its query.
    pub(crate) path: &'a str,
    /// The peer's address, or the one that a trusted proxy names.
    pub(crate) client_ip: IpAddr,
    /// The query string, without its `?`; shown decoded, secrets masked.
    pub(crate) query: Option<&'a str>,
}

pub(crate) fn http_request(request: &HttpRequest<'_>) {
    #[derive(Serialize)]
    struct Members<'a> {
        method: &'a str,
        path: &'a str,
        client_ip: IpAddr,
        query_params: QueryParams<'a>,
    }
    let HttpRequest { request_id, method, path, client_ip, query } = *request;
    emit!(
        REQUEST,
        Level::INFO,
        "http_request",
        request_id,
        [method, " ", path].concat(),
        &Members {
            method,
            path,
            // A v4 client of a v6 listener is shown as the v4 address it has.
            client_ip: client_ip.to_canonical(),
            query_params: query.map(QueryParams::parse).unwrap_or_default(),
        }
    );
}

/// A response has been sent, to its end or as far as it came.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct HttpResponse<'a> {
    #[serde(skip)]
    pub(crate) request_id: &'a str,
    pub(crate) method: &'a str,
    /// The path, without its query.
    pub(crate) path: &'a str,
    pub(crate) status_code: u16,
    /// From the request's arrival to the response's last byte.
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub(crate) duration: Duration,
    /// The length of the body that was sent.
    pub(crate) bytes: u64,
    /// `None` if sidecache answered without asking anybody: a page of its own, a request that it refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache: Option<CacheInfo<'a>>,
    /// The upstream's own id for this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream_request_id: Option<&'a str>,
    /// The trace that the request is part of, and its span here, as OpenTelemetry names them in logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<Hex<16>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) span_id: Option<Hex<8>>,
}

/// What the cache did for a response.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct CacheInfo<'a> {
    /// As in `X-Cache`.
    pub(crate) status: &'a str,
    /// `None` if no route covered the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<&'a Key>,
    /// Seconds since the answer was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) age: Option<u64>,
    /// Seconds for which the answer stays fresh; negative if it is stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ttl: Option<i64>,
    /// Why the request was passed through, the response was no hit, or it was not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
    /// For several inputs, how many were found, as in `hits=3/8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<&'a str>,
    /// The name of the route that covered the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<&'a str>,
    /// Of a hit by meaning: how near the question is whose answer was served, and its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) similarity: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) original: Option<&'a Key>,
}

pub(crate) fn http_response(response: &HttpResponse<'_>) {
    let HttpResponse { request_id, method, path, status_code, .. } = *response;
    let message = || [method, " ", path, " ", itoa::Buffer::new().format(status_code)].concat();
    emit!(REQUEST, Level::INFO, "http_response", request_id, message(), response);
}
