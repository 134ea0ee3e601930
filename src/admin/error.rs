//! What a call is refused with.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::{
    proxy::{
        body::{BodyError, ResponseBody},
        response,
    },
    store::StoreError,
};

/// An error that a caller gets: `{"error": "…"}`.
#[derive(Debug)]
pub(super) struct AdminError {
    status: StatusCode,
    message: String,
    headers: HeaderMap,
}

impl AdminError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), headers: HeaderMap::new() }
    }

    /// 400.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 400 for a request of which it is not known where it ends: the connection is closed after it.
    pub(super) fn framing(message: impl Into<String>) -> Self {
        Self::bad(message).with(header::CONNECTION, HeaderValue::from_static("close"))
    }

    /// 404.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 503.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, message);
        refusal.with(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn response(self) -> Response<ResponseBody> {
        let mut response =
            response::json(self.status, json!({"error": self.message}).to_string().into_bytes());
        response.headers_mut().extend(self.headers);
        response
    }
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        Self::unavailable(format!("the store did not do it: {error}"))
    }
}

impl From<BodyError> for AdminError {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::TimedOut(_) => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken(_) | BodyError::Failed(_) => StatusCode::BAD_REQUEST,
        };
        // The rest of the body is not worth reading.
        Self::new(status, format!("the body: {error}"))
            .with(header::CONNECTION, HeaderValue::from_static("close"))
    }
}
