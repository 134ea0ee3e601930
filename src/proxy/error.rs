//! Every error that sidecache answers with: its status, its name, and what the caller is told.

use std::panic::Location;

use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::{cache::route::kind::Kind, telemetry::stats::Limit};

/// What went wrong, as the contract's table names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The request is not one that a proxy may pass on.
    InvalidRequest,
    /// The request's body is too large.
    FileTooLarge,
    /// No connection to the upstream.
    UpstreamConnection,
    /// The upstream broke off, or spoke no HTTP.
    UpstreamProtocol,
    /// Too many requests are under way.
    Overloaded,
    /// The upstream took too long.
    UpstreamTimeout,
    /// `only-if-cached`, and it is not.
    NotCached,
    /// A fault of sidecache's own.
    Internal,
}

impl ErrorKind {
    /// The status it is answered with.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UpstreamConnection | Self::UpstreamProtocol => StatusCode::BAD_GATEWAY,
            Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamTimeout | Self::NotCached => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Its name in the body and in the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "InvalidRequestException",
            Self::FileTooLarge => "FileTooLargeException",
            Self::UpstreamConnection => "UpstreamConnectionException",
            Self::UpstreamProtocol => "UpstreamProtocolException",
            Self::Overloaded => "OverloadedException",
            Self::UpstreamTimeout => "UpstreamTimeoutException",
            Self::NotCached => "NotCachedException",
            Self::Internal => "InternalException",
        }
    }
}

/// An error: what the caller is told, and what the log gets besides.
#[derive(Debug, Error)]
#[error("{message}")]
pub(crate) struct ProxyError {
    /// What went wrong.
    pub(crate) kind: ErrorKind,
    /// What the caller is told.
    pub(crate) message: String,
    /// Further facts for the caller.
    pub(crate) details: Map<String, Value>,
    /// What it came from; for the log alone.
    pub(crate) source: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// The limit that was run into, where it was one.
    pub(crate) limit: Option<Limit>,
    /// Where it arose.
    pub(crate) at: &'static Location<'static>,
}

impl ProxyError {
    /// An error with nothing behind it, that arose where this is called.
    #[track_caller]
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let at = Location::caller();
        Self { kind, message: message.into(), details: Map::new(), source: None, limit: None, at }
    }

    /// A fault of sidecache's own.
    #[track_caller]
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// With a fact for the caller.
    #[must_use]
    pub(crate) fn with_detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// With the limit that was run into.
    #[must_use]
    pub(crate) const fn with_limit(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Whether it kept a request from being sent at all.
    pub(crate) const fn prevented_sending(&self) -> bool {
        matches!(self.kind, ErrorKind::Overloaded | ErrorKind::UpstreamConnection)
            || matches!(self.limit, Some(Limit::ConnectTimeout))
    }

    /// With what it came from.
    #[must_use]
    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// The body of an error.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody<'a> {
    /// Its name.
    pub(crate) error: &'a str,
    /// What happened.
    pub(crate) message: &'a str,
    /// Further facts.
    pub(crate) details: &'a Map<String, Value>,
    /// The path that was asked for.
    pub(crate) path: &'a str,
    /// When, in seconds since the Unix epoch.
    pub(crate) timestamp: f64,
    /// The request's id.
    pub(crate) request_id: &'a str,
}

impl ErrorBody<'_> {
    /// The body as JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The name of an upstream's own error under `errors.normalize`.
pub(crate) fn upstream_error_name(kind: Option<Kind>, status: StatusCode) -> &'static str {
    match (kind, status.as_u16()) {
        (Some(Kind::Document), 404) => "DocumentNotFoundException",
        (_, 413) => "FileTooLargeException",
        (_, 415) => "InvalidFileTypeException",
        (Some(Kind::Query), 500..) => "LLMInferenceException",
        (Some(Kind::Embedding), 500..) => "EmbeddingGenerationException",
        (Some(Kind::Document | Kind::Conversation), 500..) => "VectorStoreException",
        _ => "UpstreamException",
    }
}
