//! The `performance` and `llm_call` lines.

use std::time::Duration;

use serde::Serialize;
use tracing::Level;

use super::{LLM, PERFORMANCE, millis};
use crate::time::write_millis;

/// What was timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    CacheLookup {
        /// A hit is logged at `DEBUG`.
        hit: bool,
    },
    Upstream,
    CacheStore,
    /// The request as a whole.
    Request {
        /// A request that took longer than the threshold is a warning.
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

#[derive(Clone, Copy, Debug)]
pub(crate) struct Performance<'a, M> {
    pub(crate) request_id: Option<&'a str>,
    pub(crate) operation: Operation,
    pub(crate) duration: Duration,
    pub(crate) success: bool,
    /// Serialises as an object.
    pub(crate) metadata: &'a M,
}

pub(crate) fn performance<M: Serialize>(performance: &Performance<'_, M>) {
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
pub(crate) struct LlmCall<'a> {
    #[serde(skip)]
    pub(crate) request_id: Option<&'a str>,
    pub(crate) model: &'a str,
    pub(crate) prompt_tokens: Option<u64>,
    pub(crate) completion_tokens: Option<u64>,
    pub(crate) total_tokens: Option<u64>,
    /// Those of the prompt that the provider's own prompt cache had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cached_tokens: Option<u64>,
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub(crate) duration: Duration,
    /// Whether a hit saved the call.
    pub(crate) cached: bool,
    /// What the call cost, or would have cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cost: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) currency: Option<&'a str>,
}

pub(crate) fn llm_call(call: &LlmCall<'_>) {
    let LlmCall { request_id, model, cached, .. } = *call;
    let message = || [if cached { "saved a call of " } else { "called " }, model].concat();
    emit!(LLM, Level::INFO, "llm_call", request_id, message(), call);
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
