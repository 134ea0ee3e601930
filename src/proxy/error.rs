//! Every error that sidecache answers with: its status, its name, and its body.

use std::panic::Location;

use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::{
    cache::route::kind::Kind,
    telemetry::stats::{Limit, UpstreamOutcome},
};

/// What went wrong, by the names that the table of errors in `docs/OPERATING.md` has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// No proxy may pass such a request on.
    InvalidRequest,
    FileTooLarge,
    UpstreamConnection,
    /// The upstream broke off, or did not speak HTTP.
    UpstreamProtocol,
    Overloaded,
    UpstreamTimeout,
    /// The request said `only-if-cached`, and the answer is not stored.
    NotCached,
    /// The request has passed through here before.
    LoopDetected,
    /// A fault of sidecache's own.
    Internal,
}

impl ErrorKind {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UpstreamConnection | Self::UpstreamProtocol => StatusCode::BAD_GATEWAY,
            Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::LoopDetected => StatusCode::LOOP_DETECTED,
            Self::UpstreamTimeout | Self::NotCached => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// How a call of the upstream ended that failed in this way.
    pub(crate) const fn outcome(self) -> UpstreamOutcome {
        match self {
            Self::UpstreamTimeout => UpstreamOutcome::Timeout,
            Self::UpstreamProtocol => UpstreamOutcome::Cut,
            _ => UpstreamOutcome::Error,
        }
    }

    /// The name in the body and in the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "InvalidRequestException",
            Self::FileTooLarge => "FileTooLargeException",
            Self::UpstreamConnection => "UpstreamConnectionException",
            Self::UpstreamProtocol => "UpstreamProtocolException",
            Self::Overloaded => "OverloadedException",
            Self::UpstreamTimeout => "UpstreamTimeoutException",
            Self::NotCached => "NotCachedException",
            Self::LoopDetected => "LoopDetectedException",
            Self::Internal => "InternalException",
        }
    }
}

/// An error, with what the client gets of it and what the log gets besides.
#[derive(Debug, Error)]
#[error("{message}")]
pub(crate) struct ProxyError {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    /// Further facts for the client.
    pub(crate) details: Map<String, Value>,
    /// The cause, for the log alone.
    pub(crate) source: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// The limit that was reached, if the error is one of a limit.
    pub(crate) limit: Option<Limit>,
    /// The place in the source where the error was made.
    pub(crate) at: &'static Location<'static>,
}

impl ProxyError {
    /// How the call of the upstream ended.
    pub(crate) const fn outcome(&self) -> UpstreamOutcome {
        self.kind.outcome()
    }

    /// An error without a cause. Its place in the source is the caller's.
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

    /// Adds a fact for the client.
    #[must_use]
    pub(crate) fn with_detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    #[must_use]
    pub(crate) const fn with_limit(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Whether no byte of the request was sent because of this error.
    pub(crate) const fn prevented_sending(&self) -> bool {
        matches!(self.kind, ErrorKind::Overloaded | ErrorKind::UpstreamConnection)
            || matches!(self.limit, Some(Limit::ConnectTimeout))
    }

    #[must_use]
    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// The body of an error, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody<'a> {
    pub(crate) error: &'a str,
    pub(crate) message: &'a str,
    pub(crate) details: &'a Map<String, Value>,
    pub(crate) path: &'a str,
    /// In seconds since the Unix epoch.
    pub(crate) timestamp: f64,
    pub(crate) request_id: &'a str,
}

impl ErrorBody<'_> {
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
