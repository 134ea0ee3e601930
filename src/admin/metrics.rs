//! `GET /metrics`

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};

use super::semantic;
use crate::{
    proxy::{Proxy, jwks::JwksStatus, response::body::ResponseBody, state::Live},
    telemetry::metrics::{self, Format, Gauges, JwksGauges},
};

/// The page, in the format that `headers` accept.
pub(super) async fn page(proxy: &Proxy, live: &Live, headers: &HeaderMap) -> Response<ResponseBody> {
    let shared = &proxy.shared;
    let store = shared.store.status().await;
    let dropped = shared.store.dropped();
    let gauges = Gauges {
        store: store.name,
        store_is_up: store.connected,
        entries: store.total_keys,
        entry_bytes: store.memory_used,
        entry_bytes_limit: store.memory_limit,
        password_ends: store.password_ends,
        store_connections: store.connections,
        evicted: dropped.map(|dropped| (dropped.evicted, dropped.expired)),
        waiting: shared.in_flight.waiting(),
        upstream_requests: live.upstream.under_way(&live.config.limits),
        log_dropped: proxy.health.log_dropped(),
        spans: shared.traces.counts(),
        jwks: live.jwks.as_ref().map(|jwks| jwks.status()).map(jwks_gauges),
        by_model: !live.config.counted_models.is_empty(),
        semantic: live.semantic.as_ref().map(|semantic| semantic::gauges(semantic.status())),
    };
    let format = Format::accepted(headers);
    let mut response =
        Response::new(ResponseBody::from(Bytes::from(metrics::page(&shared.stats, gauges, format))));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn jwks_gauges(JwksStatus { keys, loaded, failed, .. }: JwksStatus) -> JwksGauges {
    JwksGauges { keys: keys as u64, loaded, failed }
}
