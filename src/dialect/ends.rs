//! The words that answers end with. Vendors have dozens of words for an answer that was cut, and a handful
//! for one that ended well, so the good ones are listed, and an answer that ends with an unknown word is not
//! stored.

use super::answer::{JudgeOptions, Refusal};
use crate::reason::Reason;

/// The words of one API, in lower case.
pub(super) struct Ends {
    /// The answer is whole.
    pub(super) good: &'static [&'static str],
    /// The answer was cut at a limit, which may be the request's own.
    pub(super) limit: &'static [&'static str],
    /// The answer was cut at a limit that no request sets.
    pub(super) cut: &'static [&'static str],
    /// The answer was held back, or refused.
    pub(super) filtered: &'static [&'static str],
    /// The answer failed.
    pub(super) failed: &'static [&'static str],
}

/// OpenAI's `finish_reason` (platform.openai.com/docs/api-reference/chat/object), and what others write in
/// its place: TGI and Together (`eos`, `eos_token`, `stop_sequence`), AI21 (`endoftext`), Cohere (`COMPLETE`,
/// `MAX_TOKENS`), gateways that pass Anthropic's words on.
pub(super) const OPENAI: Ends = Ends {
    good: &[
        "stop",
        "tool_calls",
        "function_call",
        "eos",
        "eos_token",
        "stop_sequence",
        "end_turn",
        "tool_use",
        "endoftext",
        "complete",
    ],
    limit: &["length", "max_tokens"],
    cut: &["model_length"],
    filtered: &["content_filter"],
    failed: &["error"],
};

/// Anthropic's `stop_reason` (docs.anthropic.com/en/api/handling-stop-reasons).
pub(super) const ANTHROPIC: Ends = Ends {
    good: &["end_turn", "stop_sequence", "tool_use"],
    limit: &["max_tokens"],
    cut: &["model_context_window_exceeded", "pause_turn"],
    filtered: &["refusal"],
    failed: &["error"],
};

/// Ollama's `done_reason` (github.com/ollama/ollama, docs/api.md): `load` and `unload` end no answer.
pub(super) const OLLAMA: Ends =
    Ends { good: &["stop"], limit: &["length"], cut: &[], filtered: &[], failed: &["error"] };

/// Gemini's `finishReason` (ai.google.dev/api/generate-content, "FinishReason"; `MODEL_ARMOR` is Vertex AI's).
pub(super) const GEMINI: Ends = Ends {
    good: &["stop"],
    limit: &["max_tokens"],
    cut: &["continuation"],
    filtered: &[
        "safety",
        "recitation",
        "language",
        "blocklist",
        "prohibited_content",
        "spii",
        "image_safety",
        "image_prohibited_content",
        "image_recitation",
        "model_armor",
        "escalation",
    ],
    failed: &["error"],
};

/// Cohere's `finish_reason` (docs.cohere.com/v2/reference/chat).
pub(super) const COHERE: Ends = Ends {
    good: &["complete", "stop_sequence", "tool_call"],
    limit: &["max_tokens"],
    cut: &[],
    filtered: &[],
    failed: &["error"],
};

impl Ends {
    pub(super) fn judge(&self, word: &str, options: &JudgeOptions<'_>) -> Result<(), Refusal> {
        let is_in = |words: &[&str]| words.iter().any(|own| own.eq_ignore_ascii_case(word));
        if is_in(self.good) || options.good_ends.iter().any(|own| own.eq_ignore_ascii_case(word)) {
            return Ok(());
        }
        let reason = if is_in(self.limit) && options.ask.sets_limit {
            return Ok(());
        } else if is_in(self.limit) || is_in(self.cut) {
            Reason::Length
        } else if is_in(self.filtered) {
            Reason::Filtered
        } else if is_in(self.failed) {
            Reason::ErrorEvent
        } else {
            return Err(Refusal::unknown_end(word));
        };
        Err(reason.into())
    }
}
