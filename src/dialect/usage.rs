//! The tokens that an answer took, as each vendor tells them, and whether the upstream is asked for them.

use crate::json::{Json, Member};

/// The tokens that an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In the question, the next two included.
    pub prompt: Option<u64>,
    /// Those of the question that the provider's own prompt cache had.
    pub cached: Option<u64>,
    /// Those of the question that the provider wrote to its prompt cache, where it says so.
    pub cache_write: Option<u64>,
    /// In the answer, with the reasoning before it.
    pub completion: Option<u64>,
    /// In all, as the upstream reports, or else the sum.
    pub total: Option<u64>,
}

impl Usage {
    /// The sum of both, as far as they are known.
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        let plus = |count: fn(&Self) -> Option<u64>| match (count(&self), count(&other)) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (one, other) => one.or(other),
        };
        Self {
            prompt: plus(|usage| usage.prompt),
            cached: plus(|usage| usage.cached),
            cache_write: plus(|usage| usage.cache_write),
            completion: plus(|usage| usage.completion),
            total: plus(|usage| usage.total),
        }
    }

    /// The same usage, with `change` made to each known count.
    #[must_use]
    pub(crate) fn map(self, change: impl Fn(u64) -> u64) -> Self {
        Self {
            prompt: self.prompt.map(&change),
            cached: self.cached.map(&change),
            cache_write: self.cache_write.map(&change),
            completion: self.completion.map(&change),
            total: self.total.map(&change),
        }
    }

    /// The tokens of the question. Those of an answer that reports only the sum are the question's, as with vectors.
    pub(crate) fn input(&self) -> u64 {
        let rest = || self.total.unwrap_or(0).saturating_sub(self.output());
        self.prompt.unwrap_or_else(rest)
    }

    /// The tokens of the answer.
    pub(crate) fn output(&self) -> u64 {
        self.completion.unwrap_or(0)
    }

    /// `None` if nothing is known.
    fn if_known(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}

/// What an answer, or an event of a stream, says of its usage, in the words of OpenAI: the `usage` member. A service that
/// passes on what Anthropic says has Anthropic's words there.
pub(super) fn read_usage(json: &Json<'_>) -> Option<Usage> {
    let usage = json.get("usage").filter(|usage| usage.is_object())?;
    let total = first(usage, ["total_tokens", "total"]);
    let of_anthropic = Counts::read(usage);
    if of_anthropic.has_cache() && usage.get("prompt_tokens").is_none() {
        let counts = of_anthropic.usage()?;
        return Some(Usage { total: total.or(counts.total), ..counts });
    }
    let details = ["prompt_tokens_details", "input_tokens_details"].iter().find_map(|name| usage.get(name));
    let cached = details.and_then(|details| details.get("cached_tokens")).and_then(Json::as_u64);
    let prompt = first(usage, ["prompt_tokens", "input_tokens"]);
    let completion = first(usage, ["completion_tokens", "output_tokens"]);
    // With both kinds of words, `prompt_tokens` has all.
    let Counts { cache_read, cache_creation, .. } = of_anthropic;
    Usage {
        prompt,
        cached: cached.or(cache_read),
        cache_write: cache_creation,
        completion,
        total: total.or_else(|| sum(prompt, completion)),
    }
    .if_known()
}

/// What the answer of some service says of its usage: in OpenAI's words, in Anthropic's, or in Gemini's.
pub(super) fn read_any_usage(json: &Json<'_>) -> Option<Usage> {
    read_usage(json).or_else(|| read_usage_metadata(json))
}

/// Gemini's `usageMetadata` (ai.google.dev/api/generate-content). The thoughts are beside the candidates, and what tools
/// put into the question is beside the prompt.
pub(super) fn read_usage_metadata(json: &Json<'_>) -> Option<Usage> {
    let usage = json.get("usageMetadata")?;
    let count = |name| usage.get(name).and_then(Json::as_u64);
    let prompt = sum(count("promptTokenCount"), count("toolUsePromptTokenCount"));
    let completion = sum(count("candidatesTokenCount"), count("thoughtsTokenCount"));
    Usage {
        prompt,
        cached: count("cachedContentTokenCount"),
        cache_write: None,
        completion,
        total: count("totalTokenCount").or_else(|| sum(prompt, completion)),
    }
    .if_known()
}

/// Cohere's `usage` (docs.cohere.com/v2/reference/chat): the tokens that are billed, or else all, to which the service's own
/// templates belong.
pub(super) fn read_billed_usage(json: &Json<'_>) -> Option<Usage> {
    let usage = json.get("usage")?;
    let count = |name| ["billed_units", "tokens"].iter().find_map(|of| whole(usage.get(of)?.get(name)?));
    let (prompt, completion) = (count("input_tokens"), count("output_tokens"));
    let cached = usage.get("cached_tokens").and_then(whole);
    Usage {
        prompt,
        // It counts among all tokens of the question.
        cached: cached.map(|cached| prompt.map_or(cached, |prompt| cached.min(prompt))),
        cache_write: None,
        completion,
        total: sum(prompt, completion),
    }
    .if_known()
}

/// A count that may be written with a fraction of zero.
fn whole(json: &Json<'_>) -> Option<u64> {
    let Json::Number(text) = json else { return None };
    let digits = text
        .split_once('.')
        .map_or(*text, |(digits, rest)| if rest.bytes().all(|byte| byte == b'0') { digits } else { *text });
    digits.parse().ok()
}

/// The counts of Anthropic's `usage`, of which each event of a stream may have some.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    input: Option<u64>,
    cache_creation: Option<u64>,
    cache_read: Option<u64>,
    output: Option<u64>,
}

impl Counts {
    pub(super) fn read(json: &Json<'_>) -> Self {
        let count = |name| json.get(name).and_then(Json::as_u64);
        Self {
            input: count("input_tokens"),
            cache_creation: count("cache_creation_input_tokens"),
            cache_read: count("cache_read_input_tokens"),
            output: count("output_tokens"),
        }
    }

    /// These, and those of `earlier` that are not here.
    pub(super) fn or(self, earlier: Self) -> Self {
        Self {
            input: self.input.or(earlier.input),
            cache_creation: self.cache_creation.or(earlier.cache_creation),
            cache_read: self.cache_read.or(earlier.cache_read),
            output: self.output.or(earlier.output),
        }
    }

    const fn has_cache(&self) -> bool {
        self.cache_read.is_some() || self.cache_creation.is_some()
    }

    /// The prompt is the sum: `input_tokens` leaves out what the provider's own prompt cache read and wrote.
    pub(super) fn usage(&self) -> Option<Usage> {
        let prompt = sum(sum(self.input, self.cache_creation), self.cache_read);
        let total = sum(prompt, self.output)?;
        Some(Usage {
            prompt,
            cached: self.cache_read,
            cache_write: self.cache_creation,
            completion: self.output,
            total: Some(total),
        })
    }
}

fn first(json: &Json<'_>, names: [&str; 2]) -> Option<u64> {
    names.iter().find_map(|name| json.get(name)?.as_u64())
}

/// The sum of what is known; `None` if nothing is.
pub(super) fn sum(prompt: Option<u64>, completion: Option<u64>) -> Option<u64> {
    match (prompt, completion) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    }
}

/// The value with zero for each number.
pub(super) fn zeroed(json: Json<'_>) -> Json<'_> {
    match json {
        Json::Number(_) => Json::Number("0"),
        Json::Array(items) => Json::Array(items.into_iter().map(zeroed).collect()),
        Json::Object(members) => Json::Object(
            members.into_iter().map(|member| Member { value: zeroed(member.value), ..member }).collect(),
        ),
        other => other,
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

/// What a hit says of the tokens that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageOnHit {
    /// What the stored answer took.
    Recorded,
    /// That it took none.
    Zero,
}
