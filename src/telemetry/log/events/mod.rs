//! What is logged: one function for each line of the table in docs/OPERATING.md.
//!
//! Each asks first whether its line would be written, and builds nothing if not. The further members are
//! serialised here, once, into the field `members`, which the layer writes as it is.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::time::rounded_millis;

/// Sends one event if its level is on; its message and members are evaluated only then.
macro_rules! emit {
    ($logger:expr, $level:expr, $event_type:literal, $request_id:expr, $message:expr, $members:expr) => {
        if tracing::enabled!(target: $logger, $level) {
            let json = $crate::telemetry::log::events::json_of($members);
            // In the order of the line.
            tracing::event!(
                target: $logger,
                $level,
                event_type = $event_type,
                message = &*$message,
                request_id = $request_id,
                members = $crate::telemetry::log::events::without_braces(&json),
            );
        }
    };
}

mod failure;
mod http;
mod lifecycle;
mod semantic;
mod timing;

pub(crate) use self::{
    failure::{ErrorEvent, error, exc_info, panicked},
    http::{CacheInfo, HttpRequest, HttpResponse, http_request, http_response},
    lifecycle::lifecycle,
    semantic::{
        SemanticLabel, SemanticRefused, embedder_back, embedder_changed, embedder_lost, semantic_certified,
        semantic_label, semantic_refused, semantic_sharing_back, semantic_sharing_lost,
        semantic_state_unused, semantic_stepped_back,
    },
    timing::{LlmCall, Operation, Performance, llm_call, performance},
};

const REQUEST: &str = "rag.request";
const PERFORMANCE: &str = "rag.performance";
const LLM: &str = "rag.llm";
const SEMANTIC: &str = "rag.semantic";
const ERROR: &str = "rag.error";
const SIDECACHE: &str = "sidecache";

/// The loggers that are written; events of other targets are not ours.
pub(super) const LOGGERS: [&str; 6] = [REQUEST, PERFORMANCE, LLM, SEMANTIC, ERROR, SIDECACHE];

fn json_of(members: &impl Serialize) -> String {
    let mut json = Vec::with_capacity(512);
    let written = serde_json::to_writer(&mut json, members);
    String::from_utf8(json).ok().filter(|_| written.is_ok()).unwrap_or_default()
}

fn without_braces(json: &str) -> &str {
    json.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default()
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(rounded_millis(*duration))
}
