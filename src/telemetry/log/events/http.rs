//! Requests and responses.

use std::{net::IpAddr, time::Duration};

use serde::Serialize;
use tracing::Level;

use super::{REQUEST, millis};
use crate::{cache::key::Key, telemetry::log::query::QueryParams};

/// A request has arrived.
#[derive(Clone, Copy, Debug)]
pub struct HttpRequest<'a> {
    /// The id that every line of this request carries.
    pub request_id: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path, without its query.
    pub path: &'a str,
    /// Who asks: the peer, or whom a trusted proxy names.
    pub client_ip: IpAddr,
    /// The query string, without its `?`; shown decoded, secrets masked.
    pub query: Option<&'a str>,
}

/// Logs that a request has arrived.
pub fn http_request(request: &HttpRequest<'_>) {
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
pub struct HttpResponse<'a> {
    /// The id that every line of this request carries.
    #[serde(skip)]
    pub request_id: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path, without its query.
    pub path: &'a str,
    /// The status.
    pub status_code: u16,
    /// From the request's arrival to the response's last byte.
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub duration: Duration,
    /// The length of the body that was sent.
    pub bytes: u64,
    /// What the cache did; `None` where no route covered the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheInfo<'a>>,
    /// The upstream's own id for this request, where it sent one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_request_id: Option<&'a str>,
}

/// What the cache did for a response.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CacheInfo<'a> {
    /// As in `X-Cache`.
    pub status: &'a str,
    /// The kind of the route.
    pub kind: &'a str,
    /// The entry's key, where one was derived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a Key>,
    /// Seconds since the answer was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
    /// Seconds the answer stays fresh; negative where it is stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// Why it was no hit or was not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// Of several inputs, how many were found, as in `hits=3/8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
}

/// Logs that a response has been sent.
pub fn http_response(response: &HttpResponse<'_>) {
    let HttpResponse { request_id, method, path, status_code, .. } = *response;
    let message = || [method, " ", path, " ", itoa::Buffer::new().format(status_code)].concat();
    emit!(REQUEST, Level::INFO, "http_response", request_id, message(), response);
}
