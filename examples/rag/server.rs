//! The accept loop, and the table that says which function answers which request.

use super::http::{Failure, Reply, json_reply, percent_decode, whole_reply};
use super::{Service, conversations, documents, embeddings, openai, query};
use ::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::{conn::auto, graceful::GracefulShutdown};
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

const MAX_BODY: usize = 32 * 1024 * 1024;
/// How long requests that are under way may take once the service is to stop.
const DRAIN: Duration = Duration::from_secs(5);

const HELP: &str = "A small RAG service. POST {\"query\": \"…\"} to /api/v1/query; also /api/v1/chat, \
    /api/v1/documents, /api/v1/conversations/{id}, /v1/chat/completions, /v1/embeddings, /v1/models, /health.\n";

/// Answers whoever connects until `shutdown` completes, then finishes what is under way.
pub(crate) async fn serve(listener: TcpListener, service: Arc<Service>, shutdown: impl Future<Output = ()>) {
    let connections = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => spawn_connection(stream, &connections, &service),
            // Out of file descriptors, most likely: some will be free again soon.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    drop(listener);
    // Whoever is still reading then is cut off with the process.
    let _ = tokio::time::timeout(DRAIN, connections.shutdown()).await;
}

fn spawn_connection(stream: TcpStream, connections: &GracefulShutdown, service: &Arc<Service>) {
    // Events are small; without this, some of them would wait for the one before to be acknowledged.
    let _ = stream.set_nodelay(true);
    let service = Arc::clone(service);
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(handle(&service, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    let connection = builder.serve_connection(TokioIo::new(stream), answer).into_owned();
    // A connection that fails concerns its client only, who knows.
    tokio::spawn(connections.watch(connection));
}

async fn handle(service: &Service, request: Request<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    service.count_call(path);
    if !matches!(path, "/" | "/health") && !authorised(service, &parts.headers) {
        return unauthorised(path).into();
    }
    // Split first, decode then: a `%2F` belongs to a name.
    let segments: Option<Vec<String>> = path.trim_start_matches('/').split('/').map(percent_decode).collect();
    let Some(segments) = segments else { return not_found(path).into() };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match read(body).await {
        Ok(body) => answer(service, &parts.method, path, &segments, &parts.headers, &body).await,
        Err(failure) => failure.into(),
    }
}

/// Every endpoint in one table.
async fn answer(
    service: &Service,
    method: &Method,
    path: &str,
    segments: &[&str],
    headers: &HeaderMap,
    body: &Bytes,
) -> Reply {
    // `HEAD` is `GET`, whose body hyper then leaves out.
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let reply = match (method, segments) {
        ("GET", [""]) => Ok(whole_reply(StatusCode::OK, "text/plain; charset=utf-8", HELP)),
        ("GET", ["health"]) => Ok(health(service)),
        ("POST", ["api", "v1", "query"]) => query::query(service, body).await,
        ("POST", ["api", "v1", "chat"]) => query::chat(service, body).await,
        ("GET", ["api", "v1", "conversations", id]) => conversations::show(service, id),
        ("DELETE", ["api", "v1", "conversations", id]) => conversations::delete(service, id),
        ("GET", ["api", "v1", "documents"]) => Ok(documents::list(service)),
        ("POST", ["api", "v1", "documents"]) => documents::create(service, body),
        ("GET", ["api", "v1", "documents", id]) => documents::show(service, id, headers),
        ("PUT", ["api", "v1", "documents", id]) => documents::put(service, id, body),
        ("DELETE", ["api", "v1", "documents", id]) => documents::delete(service, id),
        ("GET", ["v1", "models"]) => Ok(openai::models()),
        ("POST", ["v1", "chat", "completions"]) => openai::chat_completions(service, body).await,
        ("POST", ["v1", "embeddings"]) => embeddings::create(service, body).await,
        _ => match allowed_methods(segments) {
            Some(allowed) => return method_not_allowed(allowed),
            None => Err(not_found(path)),
        },
    };
    reply.unwrap_or_else(Reply::from)
}

/// What a path that exists would have understood.
fn allowed_methods(segments: &[&str]) -> Option<&'static str> {
    match segments {
        [""] | ["health"] | ["v1", "models"] => Some("GET"),
        ["api", "v1", "query" | "chat"] | ["v1", "chat", "completions"] | ["v1", "embeddings"] => {
            Some("POST")
        }
        ["api", "v1", "conversations", _] => Some("GET, DELETE"),
        ["api", "v1", "documents"] => Some("GET, POST"),
        ["api", "v1", "documents", _] => Some("GET, PUT, DELETE"),
        _ => None,
    }
}

fn health(service: &Service) -> Reply {
    let (documents, passages) = service.library().size();
    json_reply(StatusCode::OK, &json!({ "status": "healthy", "documents": documents, "passages": passages }))
}

async fn read(body: Incoming) -> Result<Bytes, Failure> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Failure::detail(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large"))
        }
        Err(_) => Err(Failure::detail(StatusCode::BAD_REQUEST, "There was an error reading the body")),
    }
}

fn authorised(service: &Service, headers: &HeaderMap) -> bool {
    let Some(key) = &service.api_key else { return true };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let given =
        text("authorization").and_then(|value| value.strip_prefix("Bearer ")).or_else(|| text("x-api-key"));
    // Comparing hashes takes the same time wherever the first difference is.
    given.is_some_and(|given| blake3::hash(given.as_bytes()) == blake3::hash(key.as_bytes()))
}

fn is_openai(path: &str) -> bool {
    path.starts_with("/v1/")
}

fn unauthorised(path: &str) -> Failure {
    if is_openai(path) {
        let message = "Incorrect API key provided.";
        return Failure::openai(StatusCode::UNAUTHORIZED, message, None, Some("invalid_api_key"));
    }
    Failure::detail(StatusCode::UNAUTHORIZED, "Not authenticated")
}

fn not_found(path: &str) -> Failure {
    if is_openai(path) {
        let message = format!("Unknown request URL: {path}");
        return Failure::openai(StatusCode::NOT_FOUND, &message, None, Some("unknown_url"));
    }
    Failure::detail(StatusCode::NOT_FOUND, "Not Found")
}

fn method_not_allowed(allowed: &'static str) -> Reply {
    let mut reply = Reply::from(Failure::detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"));
    reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    reply
}
