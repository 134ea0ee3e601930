//! The tokens that an answer took, and whether the upstream is asked for them.

use crate::json::Json;

/// The tokens that an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In the question.
    pub prompt: Option<u64>,
    /// In the answer.
    pub completion: Option<u64>,
    /// In all, as the upstream reports, or else the sum.
    pub total: Option<u64>,
}

impl Usage {
    /// The sum of both, as far as they are known.
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (one, other) => one.or(other),
        };
        Self {
            prompt: sum(self.prompt, other.prompt),
            completion: sum(self.completion, other.completion),
            total: sum(self.total, other.total),
        }
    }
}

/// OpenAI's `usage` member.
pub(super) fn read_usage(json: &Json<'_>) -> Option<Usage> {
    let usage = json.get("usage").filter(|usage| usage.is_object())?;
    let count = |names: [&str; 2]| names.iter().find_map(|name| usage.get(name)?.as_u64());
    let prompt = count(["prompt_tokens", "input_tokens"]);
    let completion = count(["completion_tokens", "output_tokens"]);
    let total = count(["total_tokens", "total"]);
    Some(Usage { prompt, completion, total: total.or_else(|| sum(prompt, completion)) })
}

/// The sum of what is known; `None` if nothing is.
pub(super) fn sum(prompt: Option<u64>, completion: Option<u64>) -> Option<u64> {
    match (prompt, completion) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    }
}

/// When the upstream is asked for a stream's usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageSetting {
    /// If the client asks.
    AsAsked,
    /// Always. It is hidden from clients that did not ask. Only OpenAI's Chat Completions and Completions
    /// can.
    Ask,
}
