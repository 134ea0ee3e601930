//! How the chunks of a chat make the whole
//! (platform.openai.com/docs/api-reference/chat-streaming/streaming).

use crate::dialect::{
    merge::{Members, Rule},
    openai::{Names, whole::FILTER_RESULTS},
};

pub(super) const NAMES: Names = Names { whole: "chat.completion", chunk: "chat.completion.chunk" };

pub(super) const CHOICE: &Members = &Members {
    known: &[
        ("index", Rule::Same),
        ("delta", Rule::Members(MESSAGE)),
        ("finish_reason", Rule::Same),
        ("logprobs", Rule::Members(LOGPROBS)),
        ("content_filter_results", FILTER_RESULTS),
        // The document's name for what a chunk calls `delta`. Some servers send the message so far under it.
        ("message", Rule::Refused),
    ],
    other: Rule::Once,
};

const LOGPROBS: &Members =
    &Members { known: &[("content", Rule::List), ("refusal", Rule::List)], other: Rule::Once };

pub(super) const MESSAGE: &Members = &Members {
    known: &[
        ("role", Rule::Same),
        ("content", Rule::Text),
        ("refusal", Rule::Text),
        // DeepSeek's name for it (api-docs.deepseek.com/guides/reasoning_model), and many others',
        ("reasoning_content", Rule::Text),
        // and OpenRouter's, vLLM's and Groq's.
        ("reasoning", Rule::Text),
        ("annotations", Rule::News),
        ("audio", Rule::Members(AUDIO)),
        ("tool_calls", Rule::Indexed(TOOL_CALL)),
        ("function_call", Rule::Members(FUNCTION)),
    ],
    other: Rule::Once,
};

const AUDIO: &Members = &Members {
    known: &[
        ("id", Rule::Same),
        ("data", Rule::Base64),
        ("transcript", Rule::Text),
        ("expires_at", Rule::Same),
    ],
    other: Rule::Once,
};

/// Some servers send two calls under one index. Their ids differ, so they never become one.
pub(super) const TOOL_CALL: &Members = &Members {
    known: &[
        ("index", Rule::Same),
        ("id", Rule::Same),
        ("type", Rule::Same),
        ("function", Rule::Members(FUNCTION)),
        ("custom", Rule::Members(CUSTOM)),
    ],
    other: Rule::Once,
};

const FUNCTION: &Members =
    &Members { known: &[("name", Rule::Same), ("arguments", Rule::Text)], other: Rule::Once };

const CUSTOM: &Members =
    &Members { known: &[("name", Rule::Same), ("input", Rule::Text)], other: Rule::Once };
