//! The upstream's own errors in sidecache's form (`errors.normalize`).

use std::{
    future::{Future, ready},
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::future::Either;
use http::{HeaderValue, Response, header};
use serde_json::{Map, Value};

use crate::{
    proxy::{
        body,
        error::{ErrorBody, upstream_error_name},
        exchange::Exchange,
        response::{Reply, body::ResponseBody},
    },
    telemetry::log::events,
    time::unix_seconds,
};

/// A longer error body is left out, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// `reply`; an error of the upstream's in sidecache's form, if the settings say so.
pub(crate) fn normalize_errors(exchange: &Exchange, reply: Reply) -> impl Future<Output = Reply> + Send {
    let status = reply.response.status();
    if exchange.live.config.normalize_errors && (status.is_client_error() || status.is_server_error()) {
        // Boxed, so that a reply without an error has no room for this in its future.
        Either::Right(Box::pin(normalized(exchange, reply)))
    } else {
        Either::Left(ready(reply))
    }
}

/// An error of the upstream's in sidecache's form, with the same status. In production the client sees
/// nothing of a 5xx's body; the log has it.
async fn normalized(exchange: &Exchange, reply: Reply) -> Reply {
    let Reply { response, report, saved } = reply;
    let kind = report.as_ref().and_then(|report| report.kind);
    let (mut parts, body) = response.into_parts();
    let body = body::read_up_to(body, MAX_BODY).await.unwrap_or_default();
    let name = upstream_error_name(kind, parts.status);
    let upstream = serde_json::from_slice::<Value>(&body)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&body).into_owned()));
    let message = format!("the upstream answered {}", parts.status.as_u16());
    let details = Map::from_iter([("upstream".to_owned(), upstream)]);
    let chain = format!("{name}: {message}");
    events::error(&events::ErrorEvent {
        request_id: Some(&exchange.id),
        error_type: name,
        error_message: &message,
        context: &details,
        exc_info: Some(&chain),
        module: module_path!(),
        line: line!(),
    });
    let in_production = exchange.live.config.environment == "production";
    let hidden = in_production && parts.status.is_server_error();
    let form = ErrorBody {
        error: name,
        message: &message,
        details: if hidden { &Map::new() } else { &details },
        path: &exchange.path,
        timestamp: unix_seconds(SystemTime::now()),
        request_id: &exchange.id,
    };
    for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::ETAG, header::LAST_MODIFIED] {
        parts.headers.remove(name);
    }
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let response = Response::from_parts(parts, ResponseBody::from(Bytes::from(form.to_json())));
    Reply { response, report, saved }
}
