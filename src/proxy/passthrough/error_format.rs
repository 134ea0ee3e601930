//! The upstream's own errors in sidecache's form (`errors.normalize`).

use std::{
    future::{Future, ready},
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::future::Either;
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt, Limited};
use serde_json::{Map, Value};

use crate::{
    proxy::{
        body::ResponseBody,
        error::{ErrorBody, upstream_error_name},
        exchange::Exchange,
        response::Reply,
    },
    telemetry::log::events,
    time::unix_seconds,
};

/// As much of an error's body as is read, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// `reply`; the upstream's own errors in sidecache's form, where that is set.
pub(crate) fn normalize_errors(exchange: &Exchange, reply: Reply) -> impl Future<Output = Reply> + Send {
    let status = reply.response.status();
    if exchange.live.config.normalize_errors && (status.is_client_error() || status.is_server_error()) {
        // Room for this one is made when there is one.
        Either::Right(Box::pin(normalized(exchange, reply)))
    } else {
        Either::Left(ready(reply))
    }
}

/// `reply`, an error of the upstream's, in sidecache's form and with the same status. In production the
/// caller sees nothing of a 5xx's body; the log has it.
async fn normalized(exchange: &Exchange, reply: Reply) -> Reply {
    let Reply { response, report, hit } = reply;
    let kind = report.as_ref().map(|report| report.kind);
    let (mut parts, body) = response.into_parts();
    let body =
        Limited::new(body, MAX_BODY).collect().await.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
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
    Reply { response, report, hit }
}
