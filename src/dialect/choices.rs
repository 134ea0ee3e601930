//! What OpenAI's and its relatives' answers have in common: one or more choices, each with text or tool
//! calls and a reason to end.

use std::collections::BTreeMap;

use super::Rules;
use crate::{entry::Usage, json::Json, policy::Reason};

/// What is known of one choice once the answer is over.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Why it ended; `None` where it did not.
    pub(super) finish: Option<String>,
    /// Whether it says something.
    pub(super) says: bool,
    /// The arguments of its tool calls, by their place.
    pub(super) tools: BTreeMap<u64, String>,
}

impl Choice {
    fn judge(&self, rules: &Rules<'_>) -> Result<(), Reason> {
        match self.finish.as_deref() {
            None => return Err(Reason::Invalid),
            Some("content_filter") => return Err(Reason::Filtered),
            Some("length") if !rules.ask.sets_limit => return Err(Reason::Length),
            Some("error") => return Err(Reason::ErrorEvent),
            Some(_) => {}
        }
        judge_tools(self.tools.values().map(String::as_str), rules)?;
        if self.says || !self.tools.is_empty() { Ok(()) } else { Err(Reason::Empty) }
    }
}

/// Judges the arguments of an answer's tool calls; an answer without any is fine.
pub(super) fn judge_tools<'a>(
    arguments: impl Iterator<Item = &'a str>,
    rules: &Rules<'_>,
) -> Result<(), Reason> {
    for text in arguments {
        if !rules.cache_tool_calls {
            return Err(Reason::ToolCalls);
        }
        // A call without parameters may have no arguments at all.
        if !text.is_empty() && Json::parse(text.as_bytes()).is_err() {
            return Err(Reason::Invalid);
        }
    }
    Ok(())
}

/// Judges all choices of an answer; it must have one.
pub(super) fn judge<'a>(
    mut choices: impl ExactSizeIterator<Item = &'a Choice>,
    rules: &Rules<'_>,
) -> Result<(), Reason> {
    if choices.len() == 0 {
        return Err(Reason::Invalid);
    }
    choices.try_for_each(|choice| choice.judge(rules))
}

/// The choices of a stream so far, by their index.
#[derive(Debug, Default)]
pub(super) struct Choices(BTreeMap<u64, Choice>);

impl Choices {
    /// The choice that a chunk's element is about.
    pub(super) fn of(&mut self, element: &Json<'_>) -> &mut Choice {
        let index = element.get("index").and_then(Json::as_u64).unwrap_or(0);
        self.0.entry(index).or_default()
    }

    pub(super) fn judge(&self, rules: &Rules<'_>) -> Result<(), Reason> {
        judge(self.0.values(), rules)
    }
}

/// OpenAI's `usage` member.
pub(super) fn usage(json: &Json<'_>) -> Option<Usage> {
    let usage = json.get("usage").filter(|usage| usage.is_object())?;
    let count = |names: [&str; 2]| names.iter().find_map(|name| usage.get(name)?.as_u64());
    let prompt = count(["prompt_tokens", "input_tokens"]);
    let completion = count(["completion_tokens", "output_tokens"]);
    let total = count(["total_tokens", "total"]);
    Some(Usage { prompt, completion, total: total.or_else(|| sum(prompt, completion)) })
}

/// The sum of what is known; `None` where nothing is.
pub(super) fn sum(prompt: Option<u64>, completion: Option<u64>) -> Option<u64> {
    match (prompt, completion) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    }
}
