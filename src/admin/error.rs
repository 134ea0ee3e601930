//! The errors of admin calls.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::{
    proxy::{
        body::BodyError,
        response::{self, body::ResponseBody},
    },
    store::StoreError,
};

/// An error response: `{"error": "…"}`.
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

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// A 400 after which the connection closes: nobody knows where this request ends.
    pub(super) fn framing(message: impl Into<String>) -> Self {
        Self::bad_request(message).with(header::CONNECTION, HeaderValue::from_static("close"))
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
            .with(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn into_response(self) -> Response<ResponseBody> {
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
        // Closing costs less than reading the rest of the body.
        Self::new(status, format!("the body: {error}"))
            .with(header::CONNECTION, HeaderValue::from_static("close"))
    }
}
