//! How long things took, and what the model cost.

use std::time::Duration;

use serde::Serialize;
use tracing::Level;

use super::{LLM, PERFORMANCE, millis};
use crate::time::write_millis;

/// What was timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The store was asked.
    CacheLookup {
        /// Whether it had the answer; then the line is for `DEBUG` only.
        hit: bool,
    },
    /// The upstream was asked.
    Upstream,
    /// An answer was stored.
    CacheStore,
    /// The request as a whole.
    Request {
        /// Whether it took longer than the threshold; then the line is a warning.
        slow: bool,
    },
}

impl Operation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::CacheLookup { .. } => "cache_lookup",
            Self::Upstream => "upstream",
            Self::CacheStore => "cache_store",
            Self::Request { .. } => "request",
        }
    }
}

/// How long something took.
#[derive(Clone, Copy, Debug)]
pub struct Performance<'a, M> {
    /// The request it was for.
    pub request_id: Option<&'a str>,
    /// What was timed.
    pub operation: Operation,
    /// How long it took.
    pub duration: Duration,
    /// Whether it did what it should.
    pub success: bool,
    /// More about it, something that serialises as an object: a `Map`, a struct, [`NoMetadata`].
    pub metadata: &'a M,
}

/// Nothing more to say: `{}`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct NoMetadata {}

/// Logs how long something took.
pub fn performance<M: Serialize>(performance: &Performance<'_, M>) {
    #[derive(Serialize)]
    struct Members<'a, M> {
        operation: &'static str,
        #[serde(serialize_with = "millis")]
        duration_ms: Duration,
        success: bool,
        #[serde(skip_serializing_if = "is_false")]
        slow: bool,
        metadata: &'a M,
    }
    let Performance { request_id, operation, duration, success, metadata } = *performance;
    let name = operation.as_str();
    let slow = operation == Operation::Request { slow: true };
    let members = &Members { operation: name, duration_ms: duration, success, slow, metadata };
    let message = || {
        let mut text = [if slow { "slow " } else { "" }, name, " took "].concat();
        // Writing to a String cannot fail.
        let _ = write_millis(duration, &mut text);
        text + " ms"
    };
    match operation {
        Operation::CacheLookup { hit: true } => {
            emit!(PERFORMANCE, Level::DEBUG, "performance", request_id, message(), members);
        }
        Operation::Request { slow: true } => {
            emit!(PERFORMANCE, Level::WARN, "performance", request_id, message(), members);
        }
        _ => emit!(PERFORMANCE, Level::INFO, "performance", request_id, message(), members),
    }
}

/// A call of a model, made or saved.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LlmCall<'a> {
    /// The request it was for.
    #[serde(skip)]
    pub request_id: Option<&'a str>,
    /// The model.
    pub model: &'a str,
    /// What the usage says, where it is known.
    pub prompt_tokens: Option<u64>,
    /// What the usage says, where it is known.
    pub completion_tokens: Option<u64>,
    /// What the usage says, where it is known.
    pub total_tokens: Option<u64>,
    /// How long it took.
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub duration: Duration,
    /// Whether a hit saved the call.
    pub cached: bool,
}

/// Logs a call of a model, made or saved.
pub fn llm_call(call: &LlmCall<'_>) {
    let LlmCall { request_id, model, cached, .. } = *call;
    let message = || [if cached { "saved a call of " } else { "called " }, model].concat();
    emit!(LLM, Level::INFO, "llm_call", request_id, message(), call);
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
