//! OpenAI Responses (platform.openai.com/docs/api-reference/responses).

mod items;
mod stream;
#[cfg(test)]
mod tests;
mod text;
mod whole;
mod writer;

use crate::{
    dialect::{
        answer::{Answer, JudgeOptions, Refusal, StreamEnd},
        api::{Api, has, has_text, is_json_format, text_of},
        choices::{judge_text, judge_tools},
        question::NoQuestion,
        usage::read_usage,
    },
    http::sse,
    json::Json,
    reason::Reason,
};

/// llama.cpp's member for what the response took: in a document, and beside the response in a stream's last
/// event.
const TIMINGS: &str = "timings";

pub(in crate::dialect) struct OpenAiResponses;

impl Api for OpenAiResponses {
    /// A stored prompt names its model.
    fn fits(&self, body: &Json<'_>, model_elsewhere: bool) -> bool {
        has(body, "prompt") || (has(body, "input") && (model_elsewhere || has_text(body, "model")))
    }

    fn text(&self) -> &'static [&'static str] {
        &["/input", "/input/*/content", "/input/*/content/*/text"]
    }

    fn question(&self, body: &Json<'_>) -> Result<String, NoQuestion> {
        text::question(body)
    }

    fn answer_text(&self, answer: &Json<'_>) -> Option<String> {
        text::answer_text(answer.get("output")?.items())
    }

    /// The response itself, and the one that it goes on from: what deletes one of them makes this answer void.
    fn tags(&self) -> &'static [&'static str] {
        &["/id", "/previous_response_id", "/response/id", "/response/previous_response_id"]
    }

    fn sets_limit(&self, body: &Json<'_>) -> bool {
        has(body, "max_output_tokens")
    }

    fn wants_json(&self, body: &Json<'_>) -> bool {
        is_json_format(body.get("text").and_then(|text| text.get("format")))
    }

    fn runs_in_background(&self, body: &Json<'_>) -> bool {
        body.get("background")
            .is_some_and(|background| !background.is_null() && background.as_bool() != Some(false))
    }

    /// Unless the request says that it does not (platform.openai.com/docs/guides/conversation-state), and goes on from
    /// nothing that the service keeps.
    fn is_kept_by_service(&self, body: &Json<'_>) -> bool {
        // Its `type` may be left out.
        let is_reference = |item: &Json<'_>| match item.get("type").and_then(Json::as_str) {
            Some(kind) => kind == "item_reference",
            None => has(item, "id") && !has(item, "role"),
        };
        let refers = || body.get("input").is_some_and(|input| input.items().iter().any(is_reference));
        body.get("store").and_then(Json::as_bool) != Some(false)
            || has(body, "previous_response_id")
            || refers()
    }

    fn ends_with(&self, event: &sse::Event, _end: Option<&StreamEnd>) -> bool {
        const LAST: [&str; 3] = ["response.completed", "response.incomplete", "response.failed"];
        let is_last = |json: &Json<'_>| {
            json.get("type").and_then(Json::as_str).is_some_and(|kind| LAST.contains(&kind))
        };
        LAST.iter().any(|last| event.data.contains(last))
            && Json::parse(event.data.as_bytes()).is_ok_and(|json| is_last(&json))
    }

    fn whole(&self, json: &Json<'_>, options: &JudgeOptions<'_>) -> Answer {
        Answer::new(judge(json, options), text_of(json, "model"), read_usage(json))
    }

    /// The last event holds the whole response.
    fn stream(&self, events: &[sse::Event], options: &JudgeOptions<'_>) -> Answer {
        for event in events {
            let Ok(json) = Json::parse(event.data.as_bytes()) else {
                return Answer::not_stored(Reason::Invalid);
            };
            match (json.get("type").and_then(Json::as_str), json.get("response")) {
                (Some("response.completed" | "response.incomplete"), Some(response)) => {
                    return self.whole(response, options);
                }
                _ if is_failure(event, &json) => return Answer::not_stored(Reason::ErrorEvent),
                _ => {}
            }
        }
        Answer::not_stored(Reason::NoProperEnd)
    }

    /// The usage is always reported.
    fn to_stream(&self, whole: &Json<'_>, _with_usage: bool) -> Option<Vec<u8>> {
        stream::to_stream(whole)
    }

    fn to_whole(&self, events: &[sse::Event]) -> Option<Vec<u8>> {
        whole::to_whole(events)
    }
}

/// Whether an event ends the response in a failure. A call that failed within it does not.
fn is_failure(event: &sse::Event, json: &Json<'_>) -> bool {
    let kind = json.get("type").and_then(Json::as_str).unwrap_or(&event.name);
    matches!(kind, "response.failed" | "error") || has(json, "error")
}

fn judge(json: &Json<'_>, options: &JudgeOptions<'_>) -> Result<(), Refusal> {
    if has(json, "error") {
        return Err(Reason::AnswerError.into());
    }
    let why = json.get("incomplete_details").and_then(|details| details.get("reason")).and_then(Json::as_str);
    match (json.get("status").and_then(Json::as_str), why) {
        (Some("completed"), _) => {}
        (Some("incomplete"), Some("max_output_tokens")) if options.ask.sets_limit => {}
        (Some("incomplete"), Some("max_output_tokens")) => return Err(Reason::Length.into()),
        (Some("incomplete"), Some("content_filter")) => return Err(Reason::Filtered.into()),
        (Some("failed"), _) => return Err(Reason::AnswerError.into()),
        // Still running in the background, cancelled, or not known here.
        (Some(status), why) => return Err(Refusal::unknown_end(why.unwrap_or(status))),
        (None, _) => return Err(Reason::Invalid.into()),
    }
    let items = json.get("output").map_or(&[][..], Json::items);
    let calls = items.iter().filter_map(|item| item.get("arguments").and_then(Json::as_str));
    judge_tools(calls, options)?;
    if !options.cache_tool_calls && items.iter().any(may_call) {
        return Err(Reason::ToolCalls.into());
    }
    judge_text(&text(items, options), options)?;
    if items.iter().any(says_something) { Ok(()) } else { Err(Reason::Empty.into()) }
}

/// Whether an item calls a tool, or may do so. Messages and reasoning do not.
fn may_call(item: &Json<'_>) -> bool {
    !matches!(item.get("type").and_then(Json::as_str), Some("message" | "reasoning" | "compaction") | None)
}

/// All that the messages say, if that must be JSON.
fn text(items: &[Json<'_>], options: &JudgeOptions<'_>) -> String {
    if !options.ask.wants_json {
        return String::new();
    }
    let parts = items.iter().flat_map(|item| item.get("content").map_or(&[][..], Json::items));
    let is_output = |part: &&Json<'_>| part.get("type").and_then(Json::as_str) == Some("output_text");
    parts.filter(is_output).filter_map(|part| part.get("text")?.as_str()).collect()
}

/// Whether an item is a message with a text or a refusal, or anything that is neither a message nor
/// reasoning.
fn says_something(item: &Json<'_>) -> bool {
    match item.get("type").and_then(Json::as_str) {
        Some("message") => {
            let parts = item.get("content").map_or(&[][..], Json::items);
            parts.iter().any(|part| has_text(part, "text") || has_text(part, "refusal"))
        }
        Some("reasoning") | None => false,
        Some(_) => true,
    }
}
