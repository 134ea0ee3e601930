//! What the endpoints answer with: whole JSON replies, failures, and streams of events at a pace.

use ::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A response with either kind of body.
pub(super) type Reply = Response<Either<Full<Bytes>, Paced>>;

/// A whole answer in JSON.
pub(super) fn json_reply(status: StatusCode, content: &impl Serialize) -> Reply {
    match serde_json::to_vec(content) {
        Ok(bytes) => whole_reply(status, "application/json", bytes),
        Err(error) => whole_reply(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
    }
}

/// A whole answer of any type.
pub(super) fn whole_reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(body.into())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// An answer without a body: 204, 304.
pub(super) fn empty_reply(status: StatusCode) -> Reply {
    let mut reply = Response::new(Either::Left(Full::default()));
    *reply.status_mut() = status;
    reply
}

/// One server-sent event with JSON in it.
pub(super) fn event(content: &impl Serialize) -> Bytes {
    // Text, numbers and lists of them have no way to fail.
    let json = serde_json::to_string(content).unwrap_or_default();
    Bytes::from(format!("data: {json}\n\n"))
}

/// A stream of events, and the customary `[DONE]` at its end, spread over a time.
pub(super) fn stream_reply(events: Vec<Bytes>, over: Duration) -> Reply {
    let mut frames = VecDeque::from(events);
    frames.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
    let mut reply = Response::new(Either::Right(Paced::new(frames, over)));
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}

/// A body that sends its first frame at once, its last after a given time, and the others evenly in between.
pub(super) struct Paced {
    frames: VecDeque<Bytes>,
    sent: u32,
    start: Instant,
    pause: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    fn new(frames: VecDeque<Bytes>, over: Duration) -> Self {
        let pauses = u32::try_from(frames.len().saturating_sub(1)).unwrap_or(u32::MAX).max(1);
        Self { frames, sent: 0, start: Instant::now(), pause: over / pauses, timer: None }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // Each frame has its own time since the start: pauses that follow each other would add up their rounding.
        let due = self.start + self.pause * self.sent;
        if !self.frames.is_empty() && !self.pause.is_zero() && self.sent > 0 {
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            ready!(timer.as_mut().poll(context));
            self.timer = None;
        }
        self.sent += 1;
        Poll::Ready(self.frames.pop_front().map(|frame| Ok(Frame::data(frame))))
    }
}

/// A request that cannot be answered, in the shape that its API's clients expect.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    body: Value,
}

impl Failure {
    /// As FastAPI's `HTTPException`: `{"detail": "Document not found"}`.
    pub(super) fn detail(status: StatusCode, detail: &str) -> Self {
        Self { status, body: json!({ "detail": detail }) }
    }

    /// As FastAPI's validation: 422, with where the mistake is.
    pub(super) fn invalid(member: Option<&str>, message: &str) -> Self {
        let place: Vec<&str> = std::iter::once("body").chain(member).collect();
        let detail = json!({ "detail": [{ "type": "value_error", "loc": place, "msg": message }] });
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, body: detail }
    }

    /// As OpenAI's errors.
    pub(super) fn openai(status: StatusCode, message: &str, param: Option<&str>, code: Option<&str>) -> Self {
        let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
        let error = json!({ "message": message, "type": kind, "param": param, "code": code });
        Self { status, body: json!({ "error": error }) }
    }

    /// As OpenAI's answer to a parameter that will not do.
    pub(super) fn openai_parameter(param: &str, message: &str) -> Self {
        Self::openai(StatusCode::BAD_REQUEST, message, Some(param), None)
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        let mut reply = json_reply(failure.status, &failure.body);
        if failure.status == StatusCode::UNAUTHORIZED {
            reply.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        reply
    }
}

/// The body of a request to `/api/v1`.
pub(super) fn json_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::invalid(None, &error.to_string()))
}

/// The body of a request to `/v1`.
pub(super) fn openai_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::openai(StatusCode::BAD_REQUEST, &error.to_string(), None, None))
}

/// `a%20b` as `a b`. What is no escape stays as it is; what is no UTF-8 in the end names nothing.
pub(super) fn percent_decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, after @ ..] = rest {
        let digits =
            after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok()
}

/// A text as one segment of a path.
pub(super) fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The JSON in an event, for tests.
#[cfg(test)]
pub(super) fn read_event(event: &[u8]) -> Value {
    let json = event.strip_prefix(b"data: ").expect("data in the event");
    serde_json::from_slice(json).expect("JSON in the event")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[test]
    fn percent_encoding_goes_both_ways() {
        assert_eq!(percent_encode("a b/ü"), "a%20b%2F%C3%BC");
        assert_eq!(percent_decode("a%20b%2F%C3%BC").as_deref(), Some("a b/ü"));
        assert_eq!(percent_decode("100%").as_deref(), Some("100%"));
        assert_eq!(percent_decode("%+1x").as_deref(), Some("%+1x"));
        assert_eq!(percent_decode("%FF"), None);
    }

    #[tokio::test]
    async fn a_stream_begins_at_once_and_takes_its_time() {
        let start = Instant::now();
        let over = Duration::from_millis(60);
        let mut body = stream_reply(vec![event(&1), event(&2)], over).into_body();
        let first = body.frame().await.expect("a frame").expect("no error").into_data().ok();
        assert_eq!(first.as_deref(), Some(&b"data: 1\n\n"[..]));
        assert!(start.elapsed() < over / 2);
        let rest = body.collect().await.expect("no error").to_bytes();
        assert_eq!(rest, &b"data: 2\n\ndata: [DONE]\n\n"[..]);
        assert!(start.elapsed() >= over);
    }
}
