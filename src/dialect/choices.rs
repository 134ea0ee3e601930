//! What the answers of OpenAI and of APIs like it have in common: one or more choices, each with text or tool
//! calls and a reason to end.

use std::collections::BTreeMap;

use super::{
    answer::{JudgeOptions, Refusal},
    ends::Ends,
};
use crate::{json::Json, reason::Reason};

/// What is known of one choice.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Why it ended; `None` if it did not.
    pub(super) finish: Option<String>,
    /// Whether it says something.
    pub(super) says: bool,
    /// Its text, if that must be JSON.
    pub(super) text: String,
    /// The arguments of its tool calls, by their place.
    pub(super) tools: BTreeMap<u64, String>,
    /// Whether it calls a tool in another way, or may do so.
    pub(super) may_call: bool,
}

impl Choice {
    pub(super) fn say(&mut self, text: &str, options: &JudgeOptions<'_>) {
        self.says |= !text.is_empty();
        if options.ask.wants_json {
            self.text.push_str(text);
        }
    }

    fn judge(&self, ends: &Ends, options: &JudgeOptions<'_>) -> Result<(), Refusal> {
        let Some(end) = &self.finish else { return Err(Reason::Invalid.into()) };
        ends.judge(end, options)?;
        judge_tools(self.tools.values().map(String::as_str), options)?;
        if self.may_call && !options.cache_tool_calls {
            return Err(Reason::ToolCalls.into());
        }
        judge_text(&self.text, options)?;
        if self.says || !self.tools.is_empty() { Ok(()) } else { Err(Reason::Empty.into()) }
    }
}

/// Judges the arguments of an answer's tool calls. An answer without any is good.
pub(super) fn judge_tools<'a>(
    arguments: impl Iterator<Item = &'a str>,
    options: &JudgeOptions<'_>,
) -> Result<(), Refusal> {
    for text in arguments {
        if !options.cache_tool_calls {
            return Err(Reason::ToolCalls.into());
        }
        // A call without parameters may have no arguments at all.
        if !text.is_empty() && !is_json(text) {
            return Err(Reason::Invalid.into());
        }
    }
    Ok(())
}

/// Judges whether an answer's text is JSON, if it must be. An answer without text is judged elsewhere.
pub(super) fn judge_text(text: &str, options: &JudgeOptions<'_>) -> Result<(), Refusal> {
    let is_as_asked = !options.ask.wants_json || text.is_empty() || is_json(text);
    if is_as_asked { Ok(()) } else { Err(Reason::NotAsAsked.into()) }
}

/// Whether a text is JSON to a usual parser: one that takes repeated members, which ours does not.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Judges all choices of an answer, of which there must be one.
pub(super) fn judge<'a>(
    mut choices: impl ExactSizeIterator<Item = &'a Choice>,
    ends: &Ends,
    options: &JudgeOptions<'_>,
) -> Result<(), Refusal> {
    if choices.len() == 0 {
        return Err(Reason::Invalid.into());
    }
    choices.try_for_each(|choice| choice.judge(ends, options))
}

/// The choices of a stream so far, by their index.
#[derive(Debug, Default)]
pub(super) struct Choices(BTreeMap<u64, Choice>);

impl Choices {
    /// The choice that a chunk's element is about.
    pub(super) fn for_element(&mut self, element: &Json<'_>) -> &mut Choice {
        let index = element.get("index").and_then(Json::as_u64).unwrap_or(0);
        self.0.entry(index).or_default()
    }

    pub(super) fn judge(&self, ends: &Ends, options: &JudgeOptions<'_>) -> Result<(), Refusal> {
        judge(self.0.values(), ends, options)
    }

    /// Whether as many choices as the request asks for have come to an end.
    pub(super) fn have_ended(&self, options: &JudgeOptions<'_>) -> bool {
        self.0.len() as u64 >= options.ask.choices.max(1)
            && self.0.values().all(|choice| choice.finish.is_some())
    }
}
